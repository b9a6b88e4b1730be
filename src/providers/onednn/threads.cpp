#include "providers/onednn/threads.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#if defined(__linux__)
#include <sched.h>
#endif

namespace quern::onednn {

namespace {

#if defined(__linux__)

cpu_set_t initial_mask() noexcept {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) CPU_ZERO(&mask);
  return mask;
}

const cpu_set_t& process_mask() noexcept {
  static const cpu_set_t mask = initial_mask();
  return mask;
}

/// The lowest-numbered hardware thread of the same physical core; the thread itself when the system does not
/// tell.
int first_sibling(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  int first = cpu;
  return file >> first ? first : cpu;
}

std::vector<int> list_cores() {
  std::vector<int> first, second;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &process_mask())) continue;
    const int sibling = first_sibling(cpu);
    const bool leader = sibling == cpu || !CPU_ISSET(sibling, &process_mask());
    (leader ? first : second).push_back(cpu);
  }
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

#endif

thread_local int bound_as = -1;

}  // namespace

const std::vector<int>& usable_cores() {
#if defined(__linux__)
  static const std::vector<int> cores = list_cores();
#else
  static const std::vector<int> cores;
#endif
  return cores;
}

PinPolicy parse_pin_policy(const char* text) noexcept {
  if (text == nullptr) return PinPolicy::full_pools;
  return std::string_view(text) == "0" ? PinPolicy::never : PinPolicy::always;
}

bool should_pin(PinPolicy policy, int threads, int cores) noexcept {
  if (policy == PinPolicy::never || threads > cores) return false;
  return policy == PinPolicy::always || threads == cores;
}

void pin_this_thread([[maybe_unused]] int thread, [[maybe_unused]] int threads) noexcept {
#if defined(__linux__)
  if (bound_as == thread) return;
  bound_as = thread;
  static const PinPolicy policy = parse_pin_policy(std::getenv("QUERN_PIN"));
  const auto& cores = usable_cores();
  if (!should_pin(policy, threads, static_cast<int>(cores.size()))) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cores[static_cast<std::size_t>(thread)], &mask);
  // A refusal (a mask that shrank meanwhile) leaves the thread where it was, which is only slower.
  static_cast<void>(sched_setaffinity(0, sizeof mask, &mask));
#endif
}

void unpin_this_thread() noexcept {
#if defined(__linux__)
  bound_as = -1;
  if (CPU_COUNT(&process_mask()) > 0)
    static_cast<void>(sched_setaffinity(0, sizeof(cpu_set_t), &process_mask()));
#endif
}

}  // namespace quern::onednn
