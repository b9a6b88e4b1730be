#include "check/emulator.hpp"

#include "quern/error.hpp"
#ifdef QUERN_HAVE_EMU
#include "simt/simt.hpp"
#endif

namespace quern::check {

#ifdef QUERN_HAVE_EMU

RaceDetection::RaceDetection(bool on) : on_(on) {
  if (on_) simt::set_race_detection(true);
}
RaceDetection::~RaceDetection() {
  if (on_) simt::set_race_detection(false);
}

struct ReverseSchedule::Scope {
  simt::ScopedConfig config;
};

ReverseSchedule::ReverseSchedule() {
  simt::Config config = simt::config();
  config.block_order = simt::Order::reverse;
  config.thread_order = simt::Order::reverse;
  scope_.reset(new Scope{simt::ScopedConfig(config)});
}

#else

RaceDetection::RaceDetection(bool on) : on_(on) {
  if (on) fail_input("races are looked for by the SIMT emulator, which this build lacks");
}
RaceDetection::~RaceDetection() = default;

struct ReverseSchedule::Scope {};

ReverseSchedule::ReverseSchedule() = default;

#endif

ReverseSchedule::~ReverseSchedule() = default;

}  // namespace quern::check
