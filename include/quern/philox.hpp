#pragma once

/// Philox4x32-10, the counter-based generator behind every random number in Quern.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
///
/// A number depends on (seed, purpose, stream, step, element) alone, never on who computes it or in which
/// order, so initialisation, shuffling, dropout and augmentation agree on every device.

#include <cstdint>

#if defined(__CUDACC__)
#define QUERN_HOST_DEVICE __host__ __device__
#else
#define QUERN_HOST_DEVICE
#endif

namespace quern {

struct Philox4 {
  std::uint32_t x, y, z, w;
};

/// What a random number is for. Distinct purposes never share numbers.
enum class RandomPurpose : std::uint32_t {
  init = 1,
  shuffle = 2,
  dropout = 3,
  augment = 4,
  split = 5,
  test = 6
};

/// One block of four 32-bit numbers for a 128-bit counter and a 64-bit key.
QUERN_HOST_DEVICE inline Philox4 philox4x32_10(Philox4 counter, std::uint64_t key) {
  std::uint32_t key0 = static_cast<std::uint32_t>(key);
  std::uint32_t key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = static_cast<std::uint64_t>(0xD2511F53u) * counter.x;
    const std::uint64_t product1 = static_cast<std::uint64_t>(0xCD9E8D57u) * counter.z;
    counter = Philox4{
        static_cast<std::uint32_t>(product1 >> 32) ^ counter.y ^ key0, static_cast<std::uint32_t>(product1),
        static_cast<std::uint32_t>(product0 >> 32) ^ counter.w ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// The four numbers of block `block` (elements 4*block .. 4*block+3 where one number per element is drawn).
/// `stream` tells users of one purpose apart (a dropout node, a parameter tensor); it has 24 bits.
QUERN_HOST_DEVICE inline Philox4 philox_block(std::uint64_t seed, RandomPurpose purpose, std::uint32_t stream,
                                              std::uint32_t step, std::uint64_t block) {
  return philox4x32_10(Philox4{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                               step, (static_cast<std::uint32_t>(purpose) << 24) | (stream & 0xFFFFFFu)},
                       seed);
}

/// Number `lane` (0..3) of a block.
QUERN_HOST_DEVICE inline std::uint32_t philox_lane(const Philox4& block, unsigned lane) {
  return lane == 0 ? block.x : lane == 1 ? block.y : lane == 2 ? block.z : block.w;
}

/// The single 32-bit number of one element.
QUERN_HOST_DEVICE inline std::uint32_t philox_u32(std::uint64_t seed, RandomPurpose purpose,
                                                  std::uint32_t stream, std::uint32_t step,
                                                  std::uint64_t element) {
  return philox_lane(philox_block(seed, purpose, stream, step, element / 4),
                     static_cast<unsigned>(element % 4));
}

/// Uniform in [0, 1) with 24 bits: exact in fp32, so that every device gets the same value.
QUERN_HOST_DEVICE inline float uniform_from_u32(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

/// Uniform in the integers [0, limit), from the same 24 bits and as equal on every device.
QUERN_HOST_DEVICE inline int below_from_u32(std::uint32_t bits, int limit) {
  return static_cast<int>((static_cast<std::uint64_t>(limit) * (bits >> 8)) >> 24);
}

}  // namespace quern
