#include <cstdio>
#include <memory>

#include "cli/bench_train.hpp"
#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/roofline_text.hpp"
#include "quern/bench.hpp"
#include "quern/error.hpp"

namespace quern::cli {
namespace {

struct BenchFlags {
  BenchOptions options;
  std::string shape_set = "seed", precision = "fp32";
  bool json = false;
};

int run(BenchFlags& flags) {
  BenchOptions& options = flags.options;
  options.shapes = parse_shape_set(flags.shape_set);
  options.precision = parse_precision(flags.precision).value_or(Precision::fp32);
  const bool live_line = !flags.json && stderr_is_terminal();
  if (live_line)
    options.progress = [](const std::string& name, std::size_t index, std::size_t count) {
      fmt::print(stderr, "\r\033[K[{}/{}] {:.90}", index + 1, count, name);
      std::fflush(stderr);
    };
  const Registry registry = Registry::with_all_providers();
  const BenchReport report = run_bench(registry, options);
  if (live_line) fmt::print(stderr, "\r\033[K");
  if (flags.json)
    fmt::print("{}\n", bench_json(report));
  else
    fmt::print("{}{}", describe_roofline(report.roofline), format_bench(report));
  return report.exit_status();
}

}  // namespace

void add_bench(CLI::App& app, int& status) {
  auto flags = std::make_shared<BenchFlags>();
  BenchOptions& options = flags->options;
  CLI::App* command = app.add_subcommand(
      "bench", "Time every implementation, each verified before; `bench train`: whole steps and runs");
  command->add_option("--device", options.device, "auto, cpu, cuda or cuda:N");
  command->add_option("--threads", options.threads, "CPU threads (default: all cores)");
  command->add_option("--op", options.op, "An operation, or one direction of it: conv2d, conv2d.forward");
  command->add_option("--impl", options.implementation,
                      "A provider, or one implementation (default: all but the reference)");
  command->add_option("--shape-set", flags->shape_set,
                      "seed (the default), resnet: the nodes of those models; sweep: a grid");
  command->add_option("--batch", options.batches, "Batch sizes, e.g. 64,256,1024 (default 64)")
      ->delimiter(',')
      ->take_all();
  command->add_option("--precision", flags->precision,
                      "fp32 (the default, and what auto means here), tf32 or bf16");
  command->add_option("--samples", options.samples, "Samples behind a time (default 11)")
      ->check(CLI::Range(1, 1000));
  command->add_flag("--json", flags->json, "Print one JSON object");
  add_bench_train(*command, status);
  command->callback([command, flags, &status] {
    if (command->get_subcommands().empty()) status = run(*flags);
  });
}

}  // namespace quern::cli
