#include "quern/timeline.hpp"

#include <chrono>

#include "device/factories.hpp"

namespace quern {
namespace {

class HostTimeline final : public Timeline {
 public:
  void clear() override { points_.clear(); }
  void mark() override { points_.push_back(Clock::now()); }
  std::vector<double> seconds() override {
    std::vector<double> result;
    for (const Clock::time_point point : points_)
      result.push_back(std::chrono::duration<double>(point - points_.front()).count());
    return result;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> points_;
};

}  // namespace

double Timeline::time(const std::function<void()>& work) {
  clear();
  mark();
  work();
  mark();
  return seconds().back();
}

std::unique_ptr<Timeline> make_timeline([[maybe_unused]] Device& device) {
#ifdef QUERN_HAVE_CUDA
  if (device.info().kind == DeviceKind::cuda) return make_cuda_timeline(device);
#endif
  return std::make_unique<HostTimeline>();
}

}  // namespace quern
