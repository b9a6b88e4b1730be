#include "train/epoch_tables.hpp"

namespace quern {

EpochTables::EpochTables(Device& device, std::int64_t images, std::int64_t steps)
    : images_(static_cast<std::size_t>(images)), steps_(static_cast<std::size_t>(steps)) {
  const std::size_t bytes =
      steps_ * sizeof(StepScalars) + sizeof(SumsSoFar) + images_ * sizeof(std::uint32_t);
  for (Side& side : sides_) {
    side.memory = HostBuffer(device, bytes);
    side.copied = device.make_event();
  }
}

EpochTable EpochTables::table(const Side& side) const {
  std::byte* const steps = side.memory.bytes();
  std::byte* const sums = steps + steps_ * sizeof(StepScalars);
  std::byte* const order = sums + sizeof(SumsSoFar);
  return {{reinterpret_cast<std::uint32_t*>(order), images_},
          {reinterpret_cast<StepScalars*>(steps), steps_},
          reinterpret_cast<SumsSoFar*>(sums)};
}

}  // namespace quern
