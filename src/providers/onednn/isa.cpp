#include "providers/onednn/isa.hpp"

#include <atomic>

#include "quern/error.hpp"

namespace quern::onednn {

namespace isa_baseline {
extern const Kernels kTable;
}
#ifdef QUERN_X86_LEVELS
namespace isa_avx2 {
extern const Kernels kTable;
}
namespace isa_avx512 {
extern const Kernels kTable;
}
#endif

namespace {

constexpr int kNoOverride = -1;
std::atomic<int> chosen{kNoOverride};

Isa detect() noexcept {
#ifdef QUERN_X86_LEVELS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

}  // namespace

const char* to_string(Isa isa) noexcept {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

Isa best_isa() noexcept {
  static const Isa best = detect();
  return best;
}

const Kernels& kernels() noexcept {
  const int override_value = chosen.load(std::memory_order_relaxed);
  const Isa isa = override_value == kNoOverride ? best_isa() : static_cast<Isa>(override_value);
#ifdef QUERN_X86_LEVELS
  if (isa == Isa::avx512) return isa_avx512::kTable;
  if (isa == Isa::avx2) return isa_avx2::kTable;
#endif
  static_cast<void>(isa);
  return isa_baseline::kTable;
}

void override_isa(std::optional<Isa> isa) {
  QUERN_REQUIRE(!isa || *isa <= best_isa(), "this machine has no {}", to_string(*isa));
  chosen.store(isa ? static_cast<int>(*isa) : kNoOverride, std::memory_order_relaxed);
}

}  // namespace quern::onednn
