#pragma once

/// What `quern check` asks of the SIMT emulator beyond being a device. Without the emulator in the build
/// these do nothing, and asking for races is an input error.

#include <memory>

namespace quern::check {

/// Turns race detection on for as long as it lives.
class RaceDetection {
 public:
  explicit RaceDetection(bool on);
  ~RaceDetection();
  RaceDetection(const RaceDetection&) = delete;
  RaceDetection& operator=(const RaceDetection&) = delete;

 private:
  bool on_;
};

/// While it lives, emulated blocks and threads run in reverse order: a correct kernel gives the same bits.
class ReverseSchedule {
 public:
  ReverseSchedule();
  ~ReverseSchedule();
  ReverseSchedule(const ReverseSchedule&) = delete;
  ReverseSchedule& operator=(const ReverseSchedule&) = delete;

 private:
  struct Scope;
  std::unique_ptr<Scope> scope_;
};

}  // namespace quern::check
