#pragma once

/// Runs one implementation on operands of exactly their size, so that a sanitizer sees a read past the end.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "providers/onednn/isa.hpp"
#include "quern/implementation.hpp"

namespace quern::testing {

/// Makes kernels() use an instruction set while it lives.
class ScopedIsa {
 public:
  explicit ScopedIsa(onednn::Isa isa) { onednn::override_isa(isa); }
  ~ScopedIsa() { onednn::override_isa(std::nullopt); }
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;
};

/// Those that this machine has, the baseline first.
std::vector<onednn::Isa> machine_isas();

/// Only this provider's implementations.
const Registry& onednn_registry();
/// The provider's implementation of this name ("winograd"); fails the test when there is none.
const Implementation& find_implementation(OpKey op, std::string_view name);
/// The first one that does not refuse.
const Implementation& first_choice(const OpDesc& desc);

/// One prepared implementation and its operands, named as in the contract.
class Call {
 public:
  Call(const OpDesc& desc, const Implementation& implementation, int threads = 1);
  ~Call();

  /// Inputs start out as uniform numbers in [-1, 1) from the seed; integers: in [-3, 3].
  Call& fill(std::uint64_t seed, bool integers = false);
  Call& set(std::string_view slot, const std::function<float(std::size_t)>& value);
  Call& set_step(const StepScalars& step);
  /// Runs once; outputs and workspace start out as NaN.
  Call& run();
  /// Runs again as it is, without touching anything before.
  void repeat();

  template <class T = float>
  std::span<T> operand(std::string_view slot) {
    const auto bytes = find(slot);
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  /// The bytes of all outputs, one after the other.
  std::vector<std::byte> output_bytes() const;

 private:
  struct Operand;
  std::span<std::byte> find(std::string_view slot) const;

  OpDesc desc_;
  std::unique_ptr<Device> device_;
  std::vector<Operand> operands_;
  std::vector<void*> in_, out_;
  std::unique_ptr<Executable> executable_;
  std::unique_ptr<std::byte[]> workspace_;
};

}  // namespace quern::testing
