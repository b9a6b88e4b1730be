#include "tests/onednn/harness.hpp"

#include <cstring>
#include <map>
#include <string>

#include "ops/slots.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"

namespace quern::testing {

struct Call::Operand {
  std::string name;
  TensorDesc desc;
  bool input, output;
  std::unique_ptr<std::byte[]> data;
};

std::vector<onednn::Isa> machine_isas() {
  std::vector<onednn::Isa> isas;
  for (const auto isa : {onednn::Isa::baseline, onednn::Isa::avx2, onednn::Isa::avx512})
    if (isa <= onednn::best_isa()) isas.push_back(isa);
  return isas;
}

const Registry& onednn_registry() {
  static const Registry registry = [] {
    Registry r;
    add_onednn(r);
    return r;
  }();
  return registry;
}

const Implementation& find_implementation(OpKey op, std::string_view name) {
  for (const Implementation& candidate : onednn_registry().candidates(op))
    if (candidate.name == name) return candidate;
  fail_input("no {} for {}", name, to_string(op));
}

const Implementation& first_choice(const OpDesc& desc) {
  for (const Implementation& candidate : onednn_registry().candidates(desc.op))
    if (!candidate.refusal(desc, DeviceInfo{})) return candidate;
  fail_input("nobody serves {}", describe(desc));
}

Call::Call(const OpDesc& desc, const Implementation& implementation, int threads)
    : desc_(desc), device_(open_device("cpu", threads)) {
  validate(desc);
  const auto refusal = implementation.refusal(desc, device_->info());
  if (refusal) fail_input("{} refuses {}: {}", implementation.full_name(), describe(desc), *refusal);
  const SlotLists slots = slots_of(desc);
  std::map<std::string, void*> inputs;
  const auto add = [&](const Slot& slot, const TensorDesc& tensor, bool input) {
    operands_.push_back({slot.name, tensor, input, !input, std::make_unique<std::byte[]>(tensor.bytes())});
    return operands_.back().data.get();
  };
  for (std::size_t i = 0; i < desc.inputs.size(); ++i) {
    in_.push_back(add(slots.inputs[i], desc.inputs[i], true));
    inputs[slots.inputs[i].name] = in_.back();
  }
  for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
    const auto found = inputs.find(slots.outputs[i].name);
    out_.push_back(found != inputs.end() ? found->second : add(slots.outputs[i], desc.outputs[i], false));
    if (found == inputs.end()) continue;
    for (Operand& operand : operands_)
      if (operand.data.get() == found->second) operand.output = true;
  }
  executable_ = implementation.prepare(desc, *device_);
  workspace_ = std::make_unique<std::byte[]>(executable_->workspace_bytes());
}

Call::~Call() = default;

std::span<std::byte> Call::find(std::string_view slot) const {
  for (const Operand& operand : operands_)
    if (operand.name == slot) return {operand.data.get(), operand.desc.bytes()};
  fail_input("{} has no {}", to_string(desc_.op), slot);
}

Call& Call::fill(std::uint64_t seed, bool integers) {
  std::uint32_t stream = 0;
  for (Operand& operand : operands_) {
    ++stream;
    if (!operand.input) continue;
    for (std::int64_t i = 0; i < operand.desc.elements(); ++i) {
      const std::uint32_t bits =
          philox_u32(seed, RandomPurpose::test, stream, 0, static_cast<std::uint64_t>(i));
      const float number =
          integers ? static_cast<float>(bits % 7) - 3.0f : 2.0f * uniform_from_u32(bits) - 1.0f;
      switch (operand.desc.dtype) {
        case DType::f32:
          reinterpret_cast<float*>(operand.data.get())[i] = number;
          break;
        case DType::i32:
          reinterpret_cast<std::int32_t*>(operand.data.get())[i] = static_cast<std::int32_t>(bits % 2);
          break;
        default:
          break;  // zero: the first element of a window, the first image
      }
    }
  }
  return *this;
}

Call& Call::set(std::string_view slot, const std::function<float(std::size_t)>& value) {
  const std::span<float> values = operand(slot);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value(i);
  return *this;
}

Call& Call::set_step(const StepScalars& step) {
  std::memcpy(find("step").data(), &step, sizeof step);
  return *this;
}

Call& Call::run() {
  for (Operand& operand : operands_)
    if (!operand.input) std::memset(operand.data.get(), 0xFF, operand.desc.bytes());
  std::memset(workspace_.get(), 0xFF, executable_->workspace_bytes());
  repeat();
  return *this;
}

void Call::repeat() {
  executable_->run({in_, out_, workspace_.get(), {}});
}

std::vector<std::byte> Call::output_bytes() const {
  std::vector<std::byte> bytes;
  for (const Operand& operand : operands_)
    if (operand.output)
      bytes.insert(bytes.end(), operand.data.get(), operand.data.get() + operand.desc.bytes());
  return bytes;
}

}  // namespace quern::testing
