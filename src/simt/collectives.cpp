#include "simt/collectives.hpp"

#include <algorithm>

namespace quern::simt {

namespace {

struct Ballot {
  bool predicate;
  unsigned result;
};

void exchange_ballot(void* const (&lanes)[kWarpSize]) {
  unsigned result = 0;
  for (int lane = 0; lane < kWarpSize; ++lane)
    if (lanes[lane] != nullptr && static_cast<Ballot*>(lanes[lane])->predicate) result |= 1u << lane;
  for (void* const payload : lanes)
    if (payload != nullptr) static_cast<Ballot*>(payload)->result = result;
}

struct Shuffle {
  std::uint64_t value;
  std::uint64_t result;
  ShuffleMode mode;
  int argument;
  int width;
  int missing;  ///< the source lane, when it handed nothing in; else -1
};

/// PTX ISA, "shfl.sync": the source lane, or the lane itself where the source would leave its segment.
int source_lane(const Shuffle& s, int lane) {
  const int first = lane & ~(s.width - 1);
  const int last = first + s.width - 1;
  switch (s.mode) {
    case ShuffleMode::index:
      return first + (s.argument & (s.width - 1));
    case ShuffleMode::up:
      return lane - s.argument >= first ? lane - s.argument : lane;
    case ShuffleMode::down:
      return s.argument <= last - lane ? lane + s.argument : lane;
    case ShuffleMode::exclusive_or:
      break;
  }
  // Unlike the others, it may reach into lower segments.
  const int other = lane ^ (s.argument & (kWarpSize - 1));
  return other <= last ? other : lane;
}

void exchange_shuffle(void* const (&lanes)[kWarpSize]) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (lanes[lane] == nullptr) continue;
    Shuffle& shuffle = *static_cast<Shuffle*>(lanes[lane]);
    const int source = source_lane(shuffle, lane);
    shuffle.missing = lanes[source] == nullptr ? source : -1;
    if (shuffle.missing < 0) shuffle.result = static_cast<Shuffle*>(lanes[source])->value;
  }
}

struct Match {
  std::uint64_t value;
  unsigned result;
};

void exchange_match(void* const (&lanes)[kWarpSize]) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (lanes[lane] == nullptr) continue;
    Match& match = *static_cast<Match*>(lanes[lane]);
    match.result = 0;
    for (int other = 0; other < kWarpSize; ++other)
      if (lanes[other] != nullptr && static_cast<Match*>(lanes[other])->value == match.value)
        match.result |= 1u << other;
  }
}

struct Reduction {
  std::uint32_t value;
  std::uint32_t result;
  WarpReduction operation;
};

std::uint32_t combine(WarpReduction operation, std::uint32_t a, std::uint32_t b) {
  const auto signed_a = static_cast<std::int32_t>(a), signed_b = static_cast<std::int32_t>(b);
  switch (operation) {
    case WarpReduction::add:
      return a + b;
    case WarpReduction::min_signed:
      return signed_b < signed_a ? b : a;
    case WarpReduction::min_unsigned:
      return std::min(a, b);
    case WarpReduction::max_signed:
      return signed_a < signed_b ? b : a;
    case WarpReduction::max_unsigned:
      return std::max(a, b);
    case WarpReduction::bit_and:
      return a & b;
    case WarpReduction::bit_or:
      return a | b;
    case WarpReduction::bit_xor:
      break;
  }
  return a ^ b;
}

void exchange_reduction(void* const (&lanes)[kWarpSize]) {
  std::uint32_t total = 0;
  bool first = true;
  for (void* const payload : lanes) {
    if (payload == nullptr) continue;
    const Reduction& reduction = *static_cast<Reduction*>(payload);
    total = first ? reduction.value : combine(reduction.operation, total, reduction.value);
    first = false;
  }
  for (void* const payload : lanes)
    if (payload != nullptr) static_cast<Reduction*>(payload)->result = total;
}

template <class T>
T update(T* address, std::uint64_t (*change)(std::uint64_t, std::uint64_t), std::uint64_t operand) {
  T old = __atomic_load_n(address, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(address, &old, static_cast<T>(change(old, operand)), true,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
  return old;
}

template <class T>
T compare_exchange(T* address, T compare, T value) {
  __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return compare;
}

}  // namespace

unsigned warp_ballot(const char* name, unsigned mask, bool predicate, Site site) {
  Ballot ballot{predicate, 0};
  warp_collective(name, mask, &ballot, exchange_ballot, false, site);
  return ballot.result;
}

std::uint64_t warp_shuffle(const char* name, ShuffleMode mode, unsigned mask, std::uint64_t value,
                           int argument, int width, Site site) {
  if (width < 1 || width > kWarpSize || (width & (width - 1)) != 0)
    fail_collective("a shuffle's width must be a power of two up to 32", site);
  Shuffle shuffle{value, 0, mode, argument, width, -1};
  warp_collective(name, mask, &shuffle, exchange_shuffle, false, site);
  if (shuffle.missing >= 0)
    fail_collective("a shuffle reads from a lane that is not in the mask, does not exist or has ended", site);
  return shuffle.result;
}

unsigned warp_match(unsigned mask, std::uint64_t value, Site site) {
  Match match{value, 0};
  warp_collective("__match_any_sync", mask, &match, exchange_match, false, site);
  return match.result;
}

std::uint32_t warp_reduce(const char* name, WarpReduction operation, unsigned mask, std::uint32_t value,
                          Site site) {
  Reduction reduction{value, 0, operation};
  warp_collective(name, mask, &reduction, exchange_reduction, false, site);
  return reduction.result;
}

std::uint64_t atomic_update(void* address, std::size_t bytes,
                            std::uint64_t (*change)(std::uint64_t, std::uint64_t), std::uint64_t operand) {
  if (bytes == 4) return update(static_cast<std::uint32_t*>(address), change, operand);
  return update(static_cast<std::uint64_t*>(address), change, operand);
}

std::uint64_t atomic_compare_exchange(void* address, std::size_t bytes, std::uint64_t compare,
                                      std::uint64_t value) {
  if (bytes == 4)
    return compare_exchange(static_cast<std::uint32_t*>(address), static_cast<std::uint32_t>(compare),
                            static_cast<std::uint32_t>(value));
  return compare_exchange(static_cast<std::uint64_t*>(address), compare, value);
}

}  // namespace quern::simt
