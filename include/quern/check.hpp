#pragma once

/// Conformance: holds every implementation of a registry against the reference over one table of cases.
///
/// A case is an operation with shapes, attributes and data; its name is its random seed. Every implementation
/// that the chosen device has, and that does not refuse the case, is run and compared in one or two tiers:
///
///   exact   small-integer inputs, so that every order of summation gives the same bits: results must be
///   equal.
///           For conv2d, dense, pooling, relu, add, dropout, metrics, ema and plain SGD, in fp32 and tf32,
///           where the implementation does not declare an inexact algorithm (Implementation::exact).
///   random  uniform inputs: every element within atol + rtol * |expected|, and a limit on the normalised
///   squared
///           error. NaN and infinities fail before anything else unless the reference has the same.
///
/// Around every run: outputs and workspace are poisoned before; operands and workspace lie between guard
/// bands that must survive; inputs must be unchanged; a second run, in other memory with another poison, must
/// give the same bits; element-wise operations are also run in place.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quern/implementation.hpp"
#include "quern/op.hpp"

namespace quern {

/// Outcomes of one implementation on one case. Only `pass` says that something was verified.
enum class CheckStatus : std::uint8_t {
  pass,
  fail,
  unsupported,  ///< the implementation refused, and said why
  not_run,      ///< there was no device to run it on
};
const char* to_string(CheckStatus status) noexcept;  ///< "PASS", "FAIL", "UNSUPPORTED", "NOT_RUN"

/// What a failure was, in the order in which they are looked for.
enum class CheckFailure : std::uint8_t {
  none,
  error,             ///< it threw
  overrun,           ///< it wrote outside an operand or the workspace
  input_modified,    ///< it changed an operand it may only read
  unwritten,         ///< it left an element of an output as it was
  nonfinite,         ///< NaN or infinity where the reference has none (or the other way round)
  mismatch,          ///< an element is outside its tolerance
  nmse,              ///< elements are within tolerance, together they are not
  nondeterministic,  ///< a second run gave other bits
  in_place,          ///< run in place it gave other bits
  gradient,          ///< mode grad: it is not the forward's derivative
  no_oracle,         ///< there was no reference to compare with
};
const char* to_string(CheckFailure failure) noexcept;  ///< "overrun", ...

enum class CheckMode : std::uint8_t {
  test,     ///< compare with the reference
  grad,     ///< compare gradients with central differences of the reference's forward in double
  perf,     ///< test, then time what passed; nothing unverified is timed
  support,  ///< ask everybody whether they serve the case, run nothing
};
const char* to_string(CheckMode mode) noexcept;

/// A failing element (or, for nmse, tensor).
struct CheckMismatch {
  std::string slot;   ///< "dw"
  std::string index;  ///< "[3,0,1,7]"
  double got = 0, expected = 0, tolerance = 0;
  std::size_t count = 0;  ///< elements of the slot that failed
  std::size_t elements = 0;
};

/// Time of a verified case: median over repeats of the time a run takes on a device that is kept busy.
struct CheckTiming {
  double seconds = 0;
  double gflops = 0;     ///< 1e9 operations a second, by cost()
  double gigabytes = 0;  ///< 1e9 bytes a second, by cost()
  int repeats = 0;
};

struct CheckResult {
  OpKey op;
  std::string case_name;
  std::string implementation;  ///< full name
  CheckStatus status = CheckStatus::not_run;
  CheckFailure failure = CheckFailure::none;
  std::string reason;  ///< of a failure, refusal or absence; one line
  std::optional<CheckMismatch> mismatch;
  bool exact_tier = false;  ///< the exact tier was run too
  double worst =
      0;  ///< largest |error| / tolerance in the random tier (grad: of the differences); 1 is the limit
  double nmse = 0;  ///< largest normalised squared error of an output in the random tier
  std::optional<CheckTiming> timing;
};

/// An operation for which a provider has nothing at all on the device.
struct CheckGap {
  OpKey op;
  Provider provider = Provider::reference;
  bool required = false;  ///< it fails the check
};

/// Mode support: how many cases of an operation an implementation would serve, and why not the others.
struct CheckSupport {
  OpKey op;
  std::string implementation;
  std::size_t served = 0, refused = 0;
  std::map<std::string, std::size_t> reasons;  ///< refusal -> cases
};

/// Providers of this build that promise every operation on this kind of device: reference and onednn on a
/// CPU, custom on the emulator and on CUDA. (cuDNN and cuBLAS serve what they serve.)
std::vector<Provider> required_providers(DeviceKind kind);

struct CheckOptions {
  std::string device = "cpu";  ///< as for open_device()
  int threads = 0;
  /// Mode support: the GPU to ask about, in place of opening `device`. Libraries are not asked then.
  std::optional<DeviceInfo> assumed;
  std::string op;              ///< "conv2d", "conv2d.forward"; empty: all
  std::string implementation;  ///< "onednn", "onednn:nhwc"; empty: all
  std::string case_filter;     ///< part of a case's name, or a whole name, which then selects that case alone
  CheckMode mode = CheckMode::test;
  Precision precision = Precision::fp32;
  bool fail_fast = false;
  bool races = false;                    ///< emulator only: also look for races
  int shard_index = 0, shard_count = 1;  ///< every shard_count-th case from shard_index on
  int repeats = 9;                       ///< mode perf
  /// Providers that must have an implementation of every operation on this device; a gap fails the check.
  /// Without a list: required_providers().
  std::optional<std::vector<Provider>> required;
  /// Called before each case with its name, its number and how many there are.
  std::function<void(const std::string& name, std::size_t index, std::size_t count)> progress;
};

struct CheckReport {
  CheckMode mode = CheckMode::test;
  Precision precision = Precision::fp32;
  std::string device;       ///< name of the device, or the one that was asked for when it is absent
  std::string device_kind;  ///< "cpu", ... as given in the options
  bool device_absent = false;
  std::string absence;    ///< why
  std::size_t cases = 0;  ///< selected
  std::vector<CheckResult>
      results;  ///< by case, then in the order of the registry's tables; empty in mode support
  std::vector<CheckGap> gaps;
  std::vector<CheckSupport> support;  ///< mode support

  std::size_t count(CheckStatus status) const;
  /// 0: nothing failed, no required implementation is missing, and something passed (mode support: served);
  /// 1: otherwise; 3: the device is absent.
  int exit_status() const;
};

/// Runs the table. Input errors: unknown operation, implementation (with the nearest names), case or device
/// name, a bad shard. An absent device is no error: every result then reads NOT_RUN.
CheckReport run_checks(const Registry& registry, const CheckOptions& options);

/// Names of the selected cases, in the table's order.
std::vector<std::string> list_checks(const CheckOptions& options);

/// The report for people: a table, the failures with how to repeat each, a verdict in the last line.
std::string format_report(const CheckReport& report);
/// The report for machines: one JSON object.
std::string report_json(const CheckReport& report);

}  // namespace quern
