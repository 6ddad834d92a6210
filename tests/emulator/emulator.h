// CUDA for a host compiler: everything that a kernel source may use.
#pragma once

#include "block.h"
#include "checks.h"
#include "matrix.h"
#include "memory.h"
#include "thread.h"
#include "types.h"

// One copy per kernel suffices, because blocks run one after another.
#define __shared__ static

#define SPCOLOR_SHARED(T, name) T* name = reinterpret_cast<T*>(::emulator::shared_memory())

#define SPCOLOR_LAUNCH(kernel, grid, block, smem, stream, ...) \
  (static_cast<void>(stream),                                  \
   ::emulator::run({#kernel, grid, block, smem}, [=] { kernel(__VA_ARGS__); }))
