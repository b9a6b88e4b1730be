#include "check/candidate.hpp"

#include <fmt/format.h>

#include "check/emulator.hpp"

namespace quern::check {
namespace {

std::string damage(const FencedBuffer::Content& content) {
  if (content.before) return fmt::format("wrote {} bytes before its start", *content.before);
  return fmt::format("wrote {} bytes past its end", *content.after + 1);
}

std::optional<Trespass> check_bands(const FencedBuffer::Content& content, std::string_view slot) {
  if (!content.before && !content.after) return std::nullopt;
  return Trespass{CheckFailure::overrun, std::string(slot), damage(content)};
}

std::optional<Trespass> check_unmodified(const HostTensor& given, const std::vector<std::byte>& now,
                                         std::string_view slot) {
  if (given.bytes == now) return std::nullopt;
  std::size_t i = 0;
  while (given.bytes[i] == now[i]) ++i;
  return Trespass{CheckFailure::input_modified, std::string(slot),
                  fmt::format("changed element {} of an input", i / size_of(given.desc.dtype))};
}

bool is_written(const SlotNames& names, std::size_t input) {
  for (const auto& output : names.outputs)
    if (output.in_place == static_cast<int>(input)) return true;
  return false;
}

/// Runs over one allocation an operand. `overwritten` is the input that output 0 shares, or -1.
Operands run_plain(const Job& job, int overwritten, Poison pattern) {
  const SlotNames names = slot_names(job.desc);
  std::vector<ExactBuffer> inputs, outputs;
  std::vector<void*> in, out;
  for (const HostTensor& tensor : job.inputs) {
    inputs.emplace_back(job.device, tensor.bytes.size()).write(tensor.bytes);
    in.push_back(inputs.back().data());
  }
  // The emulator knows memory that nothing has written and reports reads of it; poison would hide them.
  const bool poisoned = job.device.info().kind != DeviceKind::emu;
  for (std::size_t i = 0; i < job.desc.outputs.size(); ++i) {
    const TensorDesc& desc = job.desc.outputs[i];
    const int shared = i == 0 && overwritten >= 0 ? overwritten : names.outputs[i].in_place;
    outputs.emplace_back(job.device, shared >= 0 ? 0 : desc.bytes());
    if (shared < 0 && poisoned) outputs.back().write(poison(desc.dtype, desc.bytes(), pattern));
    out.push_back(shared >= 0 ? in[static_cast<std::size_t>(shared)] : outputs.back().data());
  }
  const std::size_t bytes = job.executable.workspace_bytes();
  ExactBuffer workspace(job.device, bytes);
  if (poisoned) workspace.write(poison(DType::f32, bytes, pattern));
  const ReverseSchedule reverse;
  job.executable.run({in, out, bytes > 0 ? workspace.data() : nullptr, job.device.stream()});
  job.device.synchronize(job.device.stream());
  Operands results;
  for (std::size_t i = 0; i < out.size(); ++i) {
    HostTensor tensor(job.desc.outputs[i]);
    job.device.copy_to_host(tensor.bytes.data(), out[i], tensor.bytes.size(), job.device.stream());
    job.device.synchronize(job.device.stream());
    results.push_back(std::move(tensor));
  }
  return results;
}

}  // namespace

RunOutcome run_fenced(const Job& job, Poison pattern) {
  const SlotNames names = slot_names(job.desc);
  std::vector<FencedBuffer> inputs, outputs;
  std::vector<void*> in, out;
  for (const HostTensor& tensor : job.inputs) {
    inputs.emplace_back(job.device, tensor.bytes.size()).write(tensor.bytes);
    in.push_back(inputs.back().data());
  }
  for (std::size_t i = 0; i < job.desc.outputs.size(); ++i) {
    const TensorDesc& desc = job.desc.outputs[i];
    const int shared = names.outputs[i].in_place;
    outputs.emplace_back(job.device, shared >= 0 ? 0 : desc.bytes());
    if (shared < 0) outputs.back().write(poison(desc.dtype, desc.bytes(), pattern));
    out.push_back(shared >= 0 ? in[static_cast<std::size_t>(shared)] : outputs.back().data());
  }
  const std::size_t bytes = job.executable.workspace_bytes();
  FencedBuffer workspace(job.device, bytes);
  workspace.write(poison(DType::f32, bytes, pattern));
  job.executable.run({in, out, bytes > 0 ? workspace.data() : nullptr, job.device.stream()});
  job.device.synchronize(job.device.stream());

  RunOutcome outcome;
  const auto note = [&](std::optional<Trespass> found) {
    if (found && !outcome.trespass) outcome.trespass = std::move(found);
  };
  std::vector<FencedBuffer::Content> contents;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    contents.push_back(inputs[i].read());
    note(check_bands(contents[i], names.inputs[i]));
    if (!is_written(names, i)) note(check_unmodified(job.inputs[i], contents[i].payload, names.inputs[i]));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    HostTensor tensor(job.desc.outputs[i]);
    if (const int shared = names.outputs[i].in_place; shared >= 0) {
      tensor.bytes = contents[static_cast<std::size_t>(shared)].payload;
    } else {
      FencedBuffer::Content content = outputs[i].read();
      note(check_bands(content, names.outputs[i].name));
      tensor.bytes = std::move(content.payload);
    }
    outcome.outputs.push_back(std::move(tensor));
  }
  note(check_bands(workspace.read(), "workspace"));
  return outcome;
}

Operands run_exact(const Job& job, Poison pattern) {
  return run_plain(job, -1, pattern);
}

Operands run_overwriting(const Job& job, int input, Poison pattern) {
  return run_plain(job, input, pattern);
}

}  // namespace quern::check
