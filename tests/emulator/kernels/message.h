// How a library for ctypes reports errors.
#pragma once

#include <stdexcept>
#include <string>

// What `function` throws, null if it does not.
template <class Function>
const char* message_of(const Function& function) {
  static std::string message;
  try {
    function();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}
