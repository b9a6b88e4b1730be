#pragma once

/// A GPU that is not there, for the logic of streams, recordings and replays. Work given to it is only
/// queued; it runs when somebody waits for it, as late as a real GPU could. Reading a result too early, or
/// reusing host memory whose copy is still queued, therefore gives wrong numbers here every time. Kernels are
/// the reference's; memory is the host's. While it records it refuses what CUDA refuses.

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quern/device.hpp"
#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern::test {

struct FakeCounts {
  int allocations = 0, host_allocations = 0;
  int uploads = 0, downloads = 0, device_copies = 0, fills = 0;
  int launches = 0;  ///< kernels launched one by one; those of a graph not counted
  int graph_launches = 0;
  int recordings = 0, loop_recordings = 0;
  int synchronizations = 0, waits = 0;
  bool operator==(const FakeCounts&) const = default;
};

struct FakeOptions {
  bool loops = true;
  std::size_t memory = std::size_t{1} << 40;
};

class FakeGpu final : public Device {
 public:
  explicit FakeGpu(FakeOptions options = {}) : options_(options) {
    info_.kind = DeviceKind::cuda;
    info_.name = "no GPU at all";
    info_.sm = 90;
    info_.multiprocessors = 132;
    info_.memory_bytes = options.memory;
    info_.shared_memory_per_block = 227 * 1024;
  }
  ~FakeGpu() override { EXPECT_TRUE(sizes_.empty()) << sizes_.size() << " allocations were never released"; }

  FakeCounts counts;
  std::vector<std::string> log;  ///< of what the trainer's tests look at: "record", "wait", "window on", ...
  /// Called when a kernel runs; may throw, which is then what every later wait reports.
  std::function<void(const std::string& kernel)> on_run;

  const DeviceInfo& info() const noexcept override { return info_; }
  std::size_t free_memory() noexcept override { return options_.memory - used_; }
  void* allocate(std::size_t bytes) override {
    refuse_while_recording("allocate");
    ++counts.allocations;
    if (bytes > free_memory())
      fail_device("fake: out of memory: asked for {}, {} are free", bytes, free_memory());
    void* pointer = std::aligned_alloc(256, (bytes / 256 + 1) * 256);
    std::memset(pointer, 0xEE, bytes);
    sizes_[pointer] = bytes;
    used_ += bytes;
    return pointer;
  }
  void release(void* pointer) noexcept override {
    run_until(queued_);  // as cudaFree does
    used_ -= sizes_[pointer];
    sizes_.erase(pointer);
    std::free(pointer);
  }
  void* allocate_host(std::size_t bytes) override {
    refuse_while_recording("allocate_host");
    ++counts.host_allocations;
    return Device::allocate_host(bytes);
  }

  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) override {
    ++counts.uploads;
    copy(device, host, bytes, stream);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) override {
    ++counts.downloads;
    copy(host, device, bytes, stream);
  }
  void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) override {
    ++counts.device_copies;
    copy(to, from, bytes, stream);
  }
  void fill(void* pointer, std::uint8_t value, std::size_t bytes, Stream stream) override {
    ++counts.fills;
    submit(stream, [=] { std::memset(pointer, value, bytes); });
  }
  void synchronize(Stream) override {
    refuse_while_recording("synchronize");
    ++counts.synchronizations;
    wait_until(queued_);
  }
  Stream stream() noexcept override { return {this}; }

  bool asynchronous() const noexcept override { return true; }
  std::unique_ptr<DeviceEvent> make_event() override {
    ++counts.host_allocations;
    return std::make_unique<Event>(*this);
  }

  bool can_capture() const noexcept override { return true; }
  bool can_loop() const noexcept override { return options_.loops; }
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work) override {
    ++counts.recordings;
    return std::make_unique<Graph>(*this, record(work), false);
  }
  std::unique_ptr<DeviceGraph> capture_loop(const std::function<void()>& work) override {
    if (!options_.loops) fail_device("fake: no loops");
    ++counts.loop_recordings;
    return std::make_unique<Graph>(*this, record(work), true);
  }
  void profiler_range(bool open) override {
    log.push_back(fmt::format("window {} with {} queued", open ? "on" : "off", queued_ - done_));
  }

  /// What a kernel launch is here.
  void launch(const std::string& kernel, std::function<void()> work) {
    if (!recording_) ++counts.launches;
    submit(stream(), [this, kernel, run = std::move(work)] {
      if (on_run) on_run(kernel);
      run();
    });
  }

 private:
  using Work = std::function<void()>;

  class Event final : public DeviceEvent {
   public:
    explicit Event(FakeGpu& gpu) : gpu_(gpu) {}
    void record(Stream) override {
      gpu_.refuse_while_recording("record an event");
      gpu_.log.emplace_back("record");
      mark_ = gpu_.queued_;
    }
    void wait() override {
      ++gpu_.counts.waits;
      gpu_.log.emplace_back("wait");
      gpu_.wait_until(mark_);
    }

   private:
    FakeGpu& gpu_;
    std::int64_t mark_ = 0;
  };

  class Graph final : public DeviceGraph {
   public:
    Graph(FakeGpu& gpu, std::vector<Work> nodes, bool loops)
        : gpu_(gpu), nodes_(std::make_shared<std::vector<Work>>(std::move(nodes))), loops_(loops) {}
    void launch(Stream stream, std::int64_t times) override {
      gpu_.counts.graph_launches += loops_ ? 1 : static_cast<int>(times);
      gpu_.submit(stream, [nodes = nodes_, times] {
        for (std::int64_t i = 0; i < times; ++i)
          for (const Work& node : *nodes) node();
      });
    }
    std::size_t nodes() const noexcept override { return nodes_->size(); }

   private:
    FakeGpu& gpu_;
    std::shared_ptr<std::vector<Work>> nodes_;
    bool loops_;
  };

  void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
    submit(stream, [=] { std::memmove(to, from, bytes); });
  }
  void submit(Stream stream, Work work) {
    EXPECT_EQ(stream.handle, this) << "work for another stream";
    if (recording_) {
      recording_->push_back(std::move(work));
    } else {
      queue_.push_back(std::move(work));
      ++queued_;
    }
  }
  std::vector<Work> record(const std::function<void()>& work) {
    refuse_while_recording("record");
    std::vector<Work> nodes;
    recording_ = &nodes;
    try {
      work();
    } catch (...) {
      recording_ = nullptr;
      throw;
    }
    recording_ = nullptr;
    return nodes;
  }
  void refuse_while_recording(const char* what) const {
    if (recording_) fail_device("fake: tried to {} while recording", what);
  }
  void run_until(std::int64_t mark) noexcept {
    for (; done_ < mark; ++done_) {
      const Work work = std::move(queue_.front());
      queue_.pop_front();
      if (!broken_.empty()) continue;  // nothing works any more once a kernel has failed
      try {
        work();
      } catch (const std::exception& error) {
        broken_ = error.what();
      }
    }
  }
  void wait_until(std::int64_t mark) {
    run_until(mark);
    if (!broken_.empty()) fail_device("fake: an earlier kernel failed: {}", broken_);
  }

  FakeOptions options_;
  DeviceInfo info_;
  std::map<void*, std::size_t> sizes_;
  std::size_t used_ = 0;
  std::deque<Work> queue_;
  std::int64_t queued_ = 0, done_ = 0;
  std::vector<Work>* recording_ = nullptr;
  std::string broken_;
};

/// An executable that launches the reference's work on a FakeGpu. `before` is called by the host at every
/// run.
class FakeExecutable final : public Executable {
 public:
  FakeExecutable(std::string name, std::unique_ptr<Executable> inner, std::function<void()> before)
      : name_(std::move(name)), inner_(std::move(inner)), before_(std::move(before)) {}
  std::size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  void run(const RunArgs& args) override {
    if (before_) before_();
    const std::vector<void*> in(args.in.begin(), args.in.end()), out(args.out.begin(), args.out.end());
    static_cast<FakeGpu*>(args.stream.handle)
        ->launch(name_, [inner = inner_, in, out, workspace = args.workspace] {
          inner->run({in, out, workspace, {}});
        });
  }

 private:
  std::string name_;
  std::shared_ptr<Executable> inner_;
  std::function<void()> before_;
};

/// Every operation of the reference, for a FakeGpu. `before(op)` is called by the host at every run.
inline Registry fake_registry(std::function<void(OpKey)> before = {}) {
  static const std::unique_ptr<Device> cpu = open_device("cpu", 1);
  Registry reference, fakes;
  add_reference(reference);
  for (const OpKey& op : all_operations()) {
    for (const Implementation& original : reference.candidates(op)) {
      Implementation fake = original;
      fake.provider = Provider::user;
      fake.name = "fake";
      fake.device = DeviceKind::cuda;
      fake.refusal = [original](const OpDesc& desc, const DeviceInfo&) {
        return original.refusal(desc, cpu->info());
      };
      fake.prepare = [original, op, before](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
        return std::make_unique<FakeExecutable>(to_string(op), original.prepare(desc, *cpu), [op, before] {
          if (before) before(op);
        });
      };
      fakes.add(std::move(fake));
    }
  }
  return fakes;
}

}  // namespace quern::test
