// What a block says about itself when it cannot go on.

#include <algorithm>
#include <map>
#include <utility>

#include "simt/block.hpp"
#include "simt/symbolize.hpp"

namespace quern::simt {

namespace {

/// "0..31, 64, 66..95" of an ascending list; long lists are cut.
std::string ranges(const std::vector<int>& numbers) {
  std::string text;
  int shown = 0;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t end = i + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    if (shown++ == 4) return text + ", ...";
    if (!text.empty()) text += ", ";
    text +=
        end - i == 1 ? fmt::format("{}", numbers[i]) : fmt::format("{}..{}", numbers[i], numbers[end - 1]);
    i = end;
  }
  return text;
}

const char* plural(std::size_t count) {
  return count == 1 ? "thread" : "threads";
}

}  // namespace

Fault Block::fault_at(FaultKind kind, std::string message, int thread) const {
  Fault fault;
  fault.kind = kind;
  fault.kernel = launch_->kernel;
  fault.block = index_;
  fault.message = std::move(message);
  if (thread >= 0) {
    fault.thread = at(thread).index;
    if (at(thread).state == State::at_barrier || at(thread).state == State::at_collective) {
      fault.file = at(thread).site.file_name();
      fault.line = static_cast<int>(at(thread).site.line());
    }
  }
  return fault;
}

void Block::fail(FaultKind kind, std::string message, Site site) {
  Fault fault = fault_at(kind, std::move(message), thread_);
  fault.file = site.file_name();
  fault.line = static_cast<int>(site.line());
  finish(std::move(fault));
}

std::string Block::who_waits_where() const {
  // Thread numbers are linear: x + y * blockDim.x + z * blockDim.x * blockDim.y.
  std::map<std::pair<std::string, unsigned>, std::vector<int>> places;
  std::vector<int> ended;
  for (int t = 0; t < thread_count_; ++t) {
    const Thread& thread = at(t);
    if (thread.state == State::ended) ended.push_back(t);
    if (thread.state == State::at_barrier || thread.state == State::at_collective) {
      const std::string what = thread.state == State::at_collective ? thread.collective
                               : thread.barrier == 0                ? "__syncthreads"
                                                     : fmt::format("barrier {}", thread.barrier);
      places[{fmt::format("at {} in {}", what, thread.site.file_name()), thread.site.line()}].push_back(t);
    }
  }
  std::string text;
  for (const auto& [place, threads] : places) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} {} {} {}:{}", plural(threads.size()), ranges(threads),
                        threads.size() == 1 ? "waits" : "wait", place.first, place.second);
  }
  if (!ended.empty()) text += fmt::format("; {} {} ended", plural(ended.size()), ranges(ended));
  return text;
}

Fault Block::mixed_barrier(int id) const {
  // The culprit is a thread that stands elsewhere than the first to arrive.
  const Site& first = barriers_[static_cast<std::size_t>(id)].site;
  int culprit = thread_;
  for (int t = 0; t < thread_count_; ++t)
    if (at(t).state == State::at_barrier && at(t).site.line() != first.line()) {
      culprit = t;
      break;
    }
  return fault_at(FaultKind::divergent_barrier,
                  fmt::format("a barrier is reached at different places: {}", who_waits_where()), culprit);
}

Fault Block::interrupted() const {
  Fault fault;
  if (interrupt_.kind == Interrupt::Kind::no_progress) {
    fault =
        fault_at(FaultKind::no_progress,
                 "the thread runs on and on without reaching a barrier or its end; does it wait for another "
                 "thread or block? They run one after the other here",
                 thread_);
  } else if (stacks_.in_guard(at(thread_).stack, interrupt_.address)) {
    fault = fault_at(
        FaultKind::stack_overflow,
        fmt::format("the thread's variables need more than its stack of {} bytes (Config::stack_bytes)",
                    stacks_.stack_bytes()),
        thread_);
  } else {
    fault =
        fault_at(FaultKind::global_overrun,
                 fmt::format("an access to address {}, which is not mapped", interrupt_.address), thread_);
  }
  const auto code = reinterpret_cast<std::uintptr_t>(interrupt_.code);
  if (code == 0) return fault;
  const auto lines = source_lines({code});
  if (const auto found = lines.find(code); found != lines.end()) {
    fault.file = found->second.file;
    fault.line = found->second.line;
  }
  return fault;
}

/// No thread can run and not all have ended.
Fault Block::stuck() const {
  int at_block_barrier = -1, elsewhere = -1;
  bool mixed = false;
  for (int t = 0; t < thread_count_; ++t) {
    if (at(t).state == State::at_barrier && at(t).barrier == 0) {
      if (at_block_barrier >= 0 && at(t).site.line() != at(at_block_barrier).site.line()) mixed = true;
      if (at_block_barrier < 0) at_block_barrier = t;
    } else if (at(t).state != State::ended && elsewhere < 0) {
      elsewhere = t;
    }
  }
  const int first = at_block_barrier >= 0 ? at_block_barrier : elsewhere;
  if (at_block_barrier >= 0 && elsewhere < 0 && !mixed)
    return fault_at(FaultKind::early_exit,
                    fmt::format("{} of {} threads ended before a barrier that others wait at: {}",
                                thread_count_ - alive_, thread_count_, who_waits_where()),
                    first);
  return fault_at(FaultKind::divergent_barrier, fmt::format("no thread can go on: {}", who_waits_where()),
                  first);
}

}  // namespace quern::simt
