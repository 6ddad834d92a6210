#include "matrix.h"

#include "checks.h"

namespace emulator {
namespace {

constexpr unsigned all_lanes = ~0u;

struct Load {
  unsigned* fragment;
  const unsigned char* row;

  static Load& of(void* operands) { return *static_cast<Load*>(operands); }
};

// Lane 4 r + p receives the pair p of row r; transposed, rows 2 p and 2 p + 1 of column r.
template <bool transposed>
void load(void* const operands[32], unsigned mask) {
  if (mask != all_lanes) fail("ldmatrix without all lanes of a warp");
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned r = lane / 4, p = lane % 4;
      uint16_t pair[2];
      for (unsigned j = 0; j < 2; ++j) {
        const unsigned row = transposed ? 2 * p + j : r, column = transposed ? r : 2 * p + j;
        const unsigned char* element = Load::of(operands[8 * m + row]).row + 2 * column;
        record_read(element, 2, lane);
        std::memcpy(&pair[j], element, 2);
      }
      std::memcpy(&Load::of(operands[lane]).fragment[m], pair, sizeof pair);
    }
}

struct Multiply {
  float* d;
  const unsigned *a, *b;
  const float* c;

  static Multiply& of(void* operands) { return *static_cast<Multiply*>(operands); }
};

template <Operand type>
float element(const unsigned* registers, unsigned i) {
  if constexpr (type == Operand::tf32) return emulated_bit_cast<float>(registers[i] & ~0x1fffu);
  uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const unsigned char*>(registers) + 2 * i, 2);
  if constexpr (type == Operand::float16) return emulated_bit_cast<__half>(bits);
  return emulated_bit_cast<__nv_bfloat16>(bits);
}

// Lane 4 r + p holds rows r and r + 8 of a and row r of b, of each half of the depth the p-th part.
template <Operand type>
void multiply(void* const operands[32], unsigned mask) {
  if (mask != all_lanes) fail("mma without all lanes of a warp");
  constexpr unsigned per = type == Operand::tf32 ? 1 : 2, depth = 8 * per;
  float a[16][depth], b[depth][8], d[16][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const Multiply& mine = Multiply::of(operands[lane]);
    const unsigned r = lane / 4, p = lane % 4;
    for (unsigned half = 0; half < 2; ++half)
      for (unsigned j = 0; j < per; ++j) {
        const unsigned k = per * (4 * half + p) + j;
        a[r][k] = element<type>(mine.a + 2 * half, j);
        a[r + 8][k] = element<type>(mine.a + 2 * half + 1, j);
        b[k][r] = element<type>(mine.b + half, j);
      }
    for (unsigned i = 0; i < 4; ++i) d[r + 8 * (i / 2)][2 * p + i % 2] = mine.c[i];
  }
  for (unsigned row = 0; row < 16; ++row)
    for (unsigned k = 0; k < depth; ++k)
      for (unsigned column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < 4; ++i)
      Multiply::of(operands[lane]).d[i] = d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
}

}  // namespace

void load_matrices(unsigned (&fragment)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16) fail("ldmatrix from a row not aligned to 16 bytes");
  Load mine{fragment, static_cast<const unsigned char*>(row)};
  collective(all_lanes, transposed ? load<true> : load<false>, &mine);
}

void multiply_add(Operand type, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                  const float (&c)[4]) {
  Multiply mine{d, a, b, c};
  switch (type) {
    case Operand::float16:
      return collective(all_lanes, multiply<Operand::float16>, &mine);
    case Operand::bfloat16:
      return collective(all_lanes, multiply<Operand::bfloat16>, &mine);
    case Operand::tf32:
      return collective(all_lanes, multiply<Operand::tf32>, &mine);
  }
}

// To nearest, ties away from zero.
uint32_t round_to_tf32(float x) {
  const uint32_t bits = emulated_bit_cast<uint32_t>(x);
  if (std::isnan(x)) return 0x7fffffff;
  return std::isinf(x) ? bits : (bits + 0x1000) & ~0x1fffu;
}

}  // namespace emulator
