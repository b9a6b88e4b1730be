#include <cstdio>
#include <memory>

#include "cli/assumed_gpu.hpp"
#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "quern/check.hpp"
#include "quern/error.hpp"

namespace quern::cli {
namespace {

struct CheckFlags {
  CheckOptions options;
  std::string mode = "test", precision = "fp32", shard, assume;
  bool list = false, json = false, verbose = false;
};

CheckMode parse_mode(const std::string& text) {
  for (const CheckMode mode : {CheckMode::test, CheckMode::grad, CheckMode::perf, CheckMode::support})
    if (text == to_string(mode)) return mode;
  fail_input("unknown mode '{}': choose one of test, grad, perf, support", text);
}

void parse_shard(const std::string& text, CheckOptions& options) {
  if (text.empty()) return;
  int end = 0;
  if (std::sscanf(text.c_str(), "%d/%d%n", &options.shard_index, &options.shard_count, &end) != 2 ||
      static_cast<std::size_t>(end) != text.size())
    fail_input("--shard {}: expected two numbers like 0/4, the first one counting from 0", text);
}

/// One line that stays where it is; the name of every case on a line of its own with --verbose, so that the
/// last one tells where a crash happened.
void show_progress(bool verbose, const std::string& name, std::size_t index, std::size_t count) {
  if (verbose)
    fmt::print(stderr, "[{}/{}] {}\n", index + 1, count, name);
  else if (index % 16 == 0)
    fmt::print(stderr, "\r\033[K[{}/{}] {:.90}", index + 1, count, name);
  std::fflush(stderr);
}

int run(CheckFlags& flags) {
  CheckOptions& options = flags.options;
  options.mode = parse_mode(flags.mode);
  const std::optional<Precision> precision = parse_precision(flags.precision);
  if (!precision) fail_input("--precision auto: a check is of one precision; choose fp32, tf32 or bf16");
  options.precision = *precision;
  parse_shard(flags.shard, options);
  if (!flags.assume.empty()) options.assumed = assumed_device(flags.assume);
  if (flags.list) {
    for (const std::string& name : list_checks(options)) fmt::print("{}\n", name);
    return 0;
  }
  const bool live_line = !flags.verbose && !flags.json && stderr_is_terminal();
  if (flags.verbose || live_line)
    options.progress = [&](const std::string& name, std::size_t index, std::size_t count) {
      show_progress(flags.verbose, name, index, count);
    };
  const Registry registry = Registry::with_all_providers();
  const CheckReport report = run_checks(registry, options);
  if (live_line) fmt::print(stderr, "\r\033[K");
  fmt::print("{}", flags.json ? report_json(report) + "\n" : format_report(report));
  return report.exit_status();
}

}  // namespace

void add_check(CLI::App& app, int& status) {
  auto flags = std::make_shared<CheckFlags>();
  CheckOptions& options = flags->options;
  options.device = "auto";
  CLI::App* command = app.add_subcommand("check", "Hold every implementation against the reference");
  command->add_option("--device", options.device, "auto, cpu, emu, cuda or cuda:N");
  command->add_option("--threads", options.threads, "Threads on the CPU and the emulator (0: all cores)");
  command->add_option("--op", options.op, "An operation, or one direction of it: conv2d, conv2d.forward");
  command->add_option("--impl", options.implementation,
                      "A provider, or one implementation: onednn, reference:naive");
  command->add_option("--case", options.case_filter,
                      "Cases with this in their name (a whole name: that case alone)");
  command->add_option(
      "--mode", flags->mode,
      "test: compare with the reference; grad: with central differences; perf: time what passes; "
      "support: ask who serves what");
  command->add_option("--assume", flags->assume,
                      "Mode support: ask about a GPU that is not here, e.g. sm_90");
  command->add_option("--precision", flags->precision, "fp32, tf32 or bf16");
  command->add_option("--shard", flags->shard, "i/n: every n-th case from case i on");
  command->add_option("--repeats", options.repeats, "Samples behind a time (mode perf)")
      ->check(CLI::Range(1, 1000));
  command->add_flag("--list", flags->list, "Print the names of the cases and run nothing");
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->add_flag("--fail-fast", options.fail_fast, "Stop at the first failure");
  command->add_flag("--races", options.races, "Look for races too (emulator)");
  command->add_flag("--verbose,-v", flags->verbose, "Name every case before it runs");
  command->callback([flags, &status] { status = run(*flags); });
}

}  // namespace quern::cli
