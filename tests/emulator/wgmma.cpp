#include "wgmma.h"

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "checks.h"
#include "memory.h"

namespace emulator {
namespace {

constexpr unsigned all_lanes = ~0u, warp_rows = 16, most_depth = 16, step_bytes = 32;

using Sums = float[warp_rows][wgmma_columns];
using Lanes = std::vector<float*>;  // each lane's [wgmma_columns / 8][4] accumulators

struct Operands {
  float left[warp_rows][most_depth], right[most_depth][wgmma_columns];
};

struct Product {
  Operand type;
  Lanes d;
  uint64_t a, b;
  bool accumulate;
  Operands operands;  // when it was issued
};

// Sums in flight, away from the registers that hold them before and after.
struct Accumulators {
  Sums sums;
  unsigned products = 0;
};

struct Warp {
  bool is_fenced = false;
  std::vector<Product> open;
  std::deque<std::vector<Product>> groups;
  std::map<float*, Accumulators> accumulators;  // by those of lane 0
};

std::vector<Warp> warps;

unsigned warp_rank() { return thread_rank() / 32; }

template <class Visit>
void for_each_sum(const Visit& visit) {
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < wgmma_columns / 2; ++i) {
      const unsigned row = lane / 4 + 8 * (i % 4 / 2), column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      visit(lane, i, row, column);
    }
}

// The bits of a descriptor that K-major operands with a swizzle of 128 bytes use.
struct Descriptor {
  uint32_t start, stride;  // of groups of eight rows

  explicit Descriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4), stride((bits >> 32 & 0x3fff) << 4) {
    if (bits >> 62 != 1) fail("a wgmma descriptor without a swizzle of 128 bytes");
    if (bits >> 49 & 7) fail("a wgmma descriptor with a base offset, for an unaligned tile");
  }

  const unsigned char* chunk(unsigned row, unsigned i) const {
    const uint32_t address = start + row / 8 * stride + row % 8 * 128 + i * 16;
    return shared_pointer(address ^ ((address >> 7 & 7) << 4));
  }
};

unsigned depth_of(Operand type) { return type == Operand::tf32 ? 8 : 16; }

float element(Operand type, const unsigned char* p) {
  if (type == Operand::tf32) {
    uint32_t bits;
    std::memcpy(&bits, p, 4);
    return emulated_bit_cast<float>(bits & ~0x1fffu);
  }
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return type == Operand::float16 ? float(emulated_bit_cast<__half>(bits))
                                  : float(emulated_bit_cast<__nv_bfloat16>(bits));
}

template <class Visit>
void for_each_chunk(const Product& product, const Visit& visit) {
  const unsigned first_row = warp_rank() % 4 * warp_rows;
  const Descriptor a(product.a), b(product.b);
  for (unsigned i = 0; i < step_bytes / 16; ++i) {
    for (unsigned row = 0; row < warp_rows; ++row) visit(true, row, i, a.chunk(first_row + row, i));
    for (unsigned row = 0; row < wgmma_columns; ++row) visit(false, row, i, b.chunk(row, i));
  }
}

Operands read_operands(const Product& product) {
  const unsigned per_chunk = depth_of(product.type) / 2, bytes = 16 / per_chunk;
  Operands operands{};
  for_each_chunk(product, [&](bool is_left, unsigned row, unsigned i, const unsigned char* p) {
    record_proxy_read(p, 16, 0);
    for (unsigned j = 0; j < per_chunk; ++j) {
      const unsigned k = i * per_chunk + j;
      (is_left ? operands.left[row][k] : operands.right[k][row]) =
          element(product.type, p + j * bytes);
    }
  });
  return operands;
}

void execute(Warp& warp, const Product& product) {
  const Operands operands = read_operands(product);
  if (std::memcmp(&operands, &product.operands, sizeof operands))
    fail("race: the operands of a wgmma changed while it ran");
  const auto found = warp.accumulators.find(product.d[0]);
  Accumulators& own = found->second;
  if (!product.accumulate) std::memset(own.sums, 0, sizeof own.sums);
  for (unsigned row = 0; row < warp_rows; ++row)
    for (unsigned k = 0; k < depth_of(product.type); ++k)
      for (unsigned column = 0; column < wgmma_columns; ++column)
        own.sums[row][column] += operands.left[row][k] * operands.right[k][column];
  if (--own.products > 0) return;
  for_each_sum([&](unsigned lane, unsigned i, unsigned row, unsigned column) {
    product.d[lane][i] = own.sums[row][column];
  });
  warp.accumulators.erase(found);
}

struct Issue {
  Operand type;
  float* d;
  uint64_t a, b;
  bool accumulate;

  static Issue& of(void* operands) { return *static_cast<Issue*>(operands); }
};

void issue(void* const operands[32], unsigned) {
  Warp& warp = warps[warp_rank()];
  if (!warp.is_fenced) fail("a group of wgmma that does not begin with wgmma_fence");
  const Issue& first = Issue::of(operands[0]);
  Product product{};
  product.type = first.type;
  product.a = first.a;
  product.b = first.b;
  product.accumulate = first.accumulate;
  for (unsigned lane = 0; lane < 32; ++lane) {
    const Issue& mine = Issue::of(operands[lane]);
    if (mine.a != first.a || mine.b != first.b || mine.accumulate != first.accumulate)
      fail("lanes of a warp disagree about a wgmma");
    product.d.push_back(mine.d);
  }
  product.operands = read_operands(product);

  Accumulators& own = warp.accumulators[first.d];
  const bool is_first = own.products++ == 0;
  for_each_sum([&](unsigned lane, unsigned i, unsigned row, unsigned column) {
    if (is_first) own.sums[row][column] = product.d[lane][i];
    product.d[lane][i] = NAN;
  });
  warp.open.push_back(std::move(product));
}

void fence(void* const[32], unsigned) { warps[warp_rank()].is_fenced = true; }

void commit(void* const[32], unsigned) {
  Warp& warp = warps[warp_rank()];
  warp.groups.push_back(std::move(warp.open));
  warp.open.clear();
  warp.is_fenced = false;
}

void wait(void* const operands[32], unsigned) {
  Warp& warp = warps[warp_rank()];
  const unsigned groups_in_flight = *static_cast<const unsigned*>(operands[0]);
  while (warp.groups.size() > groups_in_flight) {
    for (const Product& product : warp.groups.front()) execute(warp, product);
    warp.groups.pop_front();
  }
}

void together(Collective perform, void* operands) { collective(all_lanes, perform, operands); }

}  // namespace

void begin_products_of_block(unsigned threads) {
  warps.clear();
  warps.resize((threads + 31) / 32);
}

bool has_products_in_flight(unsigned thread) {
  const Warp& warp = warps[thread / 32];
  return !warp.open.empty() || !warp.accumulators.empty();
}

void issue_product(Operand type, float (&d)[wgmma_columns / 8][4], uint64_t a, uint64_t b,
                   bool accumulate) {
  Issue mine{type, &d[0][0], a, b, accumulate};
  together(issue, &mine);
}

void fence_registers() {
  int nothing = 0;
  together(fence, &nothing);
}

void commit_products() {
  int nothing = 0;
  together(commit, &nothing);
}

void wait_for_products(unsigned groups_in_flight) { together(wait, &groups_in_flight); }

}  // namespace emulator
