#include "bench/measure.hpp"

#include <algorithm>

namespace quern::bench {
namespace {

/// Long enough that the clock and the wait at the end do not count.
constexpr double kSampleSeconds = 2e-3;
constexpr int kMostLaunches = 10000;

}  // namespace

OperandSets::OperandSets(const OpDesc& desc, const check::Operands& inputs, Device& device)
    : device_(device) {
  const check::SlotNames names = check::slot_names(desc);
  std::size_t bytes = 1;
  for (const TensorDesc& input : desc.inputs) bytes += input.bytes();
  for (const TensorDesc& output : desc.outputs) bytes += output.bytes();
  const std::size_t count = std::clamp<std::size_t>(kFootprint / bytes, 1, kMostSets);
  for (std::size_t i = 0; i < count; ++i) {
    Set& set = sets_.emplace_back();
    for (const check::HostTensor& tensor : inputs) {
      set.buffers.emplace_back(device, tensor.bytes.size());
      set.in.push_back(set.buffers.back().data());
      device.copy_to_device(set.in.back(), tensor.bytes.data(), tensor.bytes.size(), device.stream());
    }
    for (std::size_t j = 0; j < desc.outputs.size(); ++j) {
      const int shared = names.outputs[j].in_place;
      if (shared < 0) set.buffers.emplace_back(device, desc.outputs[j].bytes());
      set.out.push_back(shared >= 0 ? set.in[static_cast<std::size_t>(shared)] : set.buffers.back().data());
    }
  }
  device.synchronize(device.stream());
}

RunArgs OperandSets::args(std::size_t set, void* workspace) const {
  return {sets_[set].in, sets_[set].out, workspace, device_.stream()};
}

Contender::Contender(std::unique_ptr<Executable> executable, const OperandSets& sets, Device& device,
                     Timeline& timeline)
    : executable_(std::move(executable)), sets_(sets), timeline_(timeline) {
  if (const std::size_t bytes = executable_->workspace_bytes(); bytes > 0) workspace_ = Buffer(device, bytes);
  if (device.info().kind == DeviceKind::cuda) {
    // A captured graph cannot step from set to set: it holds a run over each.
    runs_a_launch_ = sets.count();
    launch_ = [this] {
      for (std::size_t i = 0; i < sets_.count(); ++i) executable_->run(sets_.args(i, workspace_.data()));
    };
    launch_();  // what a library does on first use only cannot be captured
    device.synchronize(device.stream());
    launch_ = timeline.replayable(launch_);
  } else {
    launch_ = [this] {
      executable_->run(sets_.args(next_set_, workspace_.data()));
      next_set_ = (next_set_ + 1) % sets_.count();
    };
  }
}

double Contender::seconds_of(int launches) {
  return timeline_.time([&] {
    for (int i = 0; i < launches; ++i) launch_();
  });
}

void Contender::warm_up() {
  seconds_of(1);
  const double once = std::max(seconds_of(1), 1e-7);
  launches_ = static_cast<int>(std::clamp(kSampleSeconds / once, 1.0, static_cast<double>(kMostLaunches)));
}

void Contender::sample() {
  const double runs = static_cast<double>(launches_) * static_cast<double>(runs_a_launch_);
  samples_.push_back(seconds_of(launches_) / runs);
}

}  // namespace quern::bench
