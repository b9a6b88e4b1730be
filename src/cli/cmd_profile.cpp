#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/roofline_text.hpp"
#include "cli/train_flags.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/profile.hpp"
#include "quern/roofline.hpp"
#include "quern/trainer.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

struct ProfileFlags {
  std::string model = kDefaultModel, data = kDefaultData;
  std::optional<int> batch;
  std::int64_t steps = 20, warmup = 5;
  std::optional<std::string> trace;
  DeviceFlags device;
  bool json = false;
};

/// Ends a run when every step that is wanted has been walked.
class StopAfter final : public TrainObserver {
 public:
  explicit StopAfter(std::int64_t steps) : left_(steps) {}
  bool stop_requested() override { return left_-- == 0; }

 private:
  std::int64_t left_;
};

/// Trains for the warm-up and for as many steps as are wanted of each kind: every other one is walked as
/// training does and timed as a whole, the others node by node.
class ProfileRun {
 public:
  explicit ProfileRun(const ProfileFlags& flags)
      : flags_(flags), session_(spec_of(flags), flags.device.over({})), profiler_(session_.device()) {
    const bool emulated = session_.device().info().kind == DeviceKind::emu;
    if (!emulated) roofline_ = measure_roofline(session_.device());
  }

  void execute() {
    const Dataset data = load_dataset(flags_.data);
    const DeviceImages images(session_, data.train, "the training set");
    Trainer trainer(session_, images, {});
    const std::int64_t whole_batches = trainer.training_images() / session_.spec().recipe.batch_size;
    std::int64_t walked = 0;
    trainer.watch(1, [&](Executor& executor, std::int64_t step) {
      const bool tail = step % trainer.steps_per_epoch() >= whole_batches;
      if (walked == 0) chains_ = executor.chains();
      if (tail || walked++ < flags_.warmup) return executor.run();
      (walked - flags_.warmup) % 2 == 0 ? profiler_.walk(executor) : profiler_.walk_whole(executor);
    });
    StopAfter stop(flags_.warmup + 2 * flags_.steps);
    trainer.run(stop);
    if (flags_.trace) write_file_atomically(*flags_.trace, chrome_trace(profiler_.nodes(), title()) + "\n");
    fmt::print("{}", flags_.json ? json().dump() + "\n" : text());
  }

 private:
  static ModelSpec spec_of(const ProfileFlags& flags) {
    ModelSpec spec = load_model_spec(flags.model);
    if (flags.batch) spec.recipe.batch_size = *flags.batch;
    spec.recipe.epochs = 1'000'000;  // StopAfter ends the run
    validate(spec.recipe);
    return spec;
  }

  std::string title() {
    return fmt::format("quern {} on {}, batch {}", session_.spec().name, session_.device().info().name,
                       session_.spec().recipe.batch_size);
  }

  double total() const {
    double sum = 0;
    for (const NodeProfile& node : profiler_.nodes()) sum += median(node.seconds);
    return sum;
  }

  std::string text() {
    const double sum = total();
    std::vector<std::vector<std::string>> rows;
    for (const NodeProfile& node : profiler_.nodes()) {
      const double seconds = median(node.seconds);
      const OpCost least = cost(node.desc);
      rows.push_back({node.node, node.implementation, fmt::format("{:.1f}", seconds * 1e6),
                      fmt::format("{:.0f} %", spread(node.seconds) * 100),
                      fmt::format("{:.1f} %", seconds / sum * 100), fmt::format("{:.2f}", least.bytes / 1e6),
                      fmt::format("{:.2f}", least.flops / 1e6),
                      fmt::format("{:.1f}", least.bytes / seconds / 1e9),
                      fmt::format("{:.1f}", least.flops / seconds / 1e9),
                      roofline_ ? fmt::format("{:.0f} %", of_roofline(node.desc, seconds) * 100) : "-"});
    }
    std::string out = title() + "\n";
    out += roofline_ ? describe_roofline(*roofline_)
                     : std::string("the emulator makes no claim about speed: its times are its own\n");
    out += "\n" + format_table({"node", "implementation", ">us", ">spread", ">share", ">MB", ">Mflop",
                                ">GB/s", ">Gflop/s", ">of roofline"},
                               rows);
    out += fmt::format(
        "\nstep {:.1f} us (median of {} whole steps, spread {:.0f} %); nodes together {:.1f} us (medians of "
        "{} "
        "steps)\n",
        median(profiler_.whole()) * 1e6, profiler_.whole().size(), spread(profiler_.whole()) * 100, sum * 1e6,
        flags_.steps);
    for (const ChainInfo& chain : chains_)
      out += fmt::format(
          "whole steps run {} together, {} images at a time: {:.1f} MB that never leave the cache\n",
          fmt::join(chain.nodes, ", "), chain.images, static_cast<double>(chain.bytes_kept) / 1e6);
    if (flags_.trace) out += fmt::format("trace in {}: open it at ui.perfetto.dev\n", *flags_.trace);
    return out;
  }

  double of_roofline(const OpDesc& desc, double seconds) const {
    return roofline_->floor_seconds(desc, Roofline::Operands::as_left_by_a_step) / seconds;
  }

  nlohmann::json json() {
    const double sum = total();
    nlohmann::json chains = nlohmann::json::array();
    for (const ChainInfo& chain : chains_)
      chains.push_back({{"nodes", chain.nodes}, {"images", chain.images}, {"bytes_kept", chain.bytes_kept}});
    nlohmann::json nodes = nlohmann::json::array();
    for (const NodeProfile& node : profiler_.nodes()) {
      const double seconds = median(node.seconds);
      const OpCost least = cost(node.desc);
      nodes.push_back({{"node", node.node},
                       {"op", to_string(node.desc.op)},
                       {"phase", to_string(node.phase)},
                       {"implementation", node.implementation},
                       {"us", seconds * 1e6},
                       {"spread", spread(node.seconds)},
                       {"share", seconds / sum},
                       {"bytes", least.bytes},
                       {"flops", least.flops}});
      if (roofline_) nodes.back()["of_roofline"] = of_roofline(node.desc, seconds);
    }
    return {{"model", session_.spec().name},
            {"batch_size", session_.spec().recipe.batch_size},
            {"precision", to_string(session_.precision())},
            {"device", session_.device_name()},
            {"device_name", session_.device().info().name},
            {"threads", session_.device().info().threads},
            {"quern_version", version()},
            {"steps", flags_.steps},
            {"warmup", flags_.warmup},
            {"step_us", median(profiler_.whole()) * 1e6},
            {"step_spread", spread(profiler_.whole())},
            {"nodes_us", sum * 1e6},
            {"chains", std::move(chains)},
            {"roofline", roofline_ ? to_json(*roofline_) : nlohmann::json()},
            {"nodes", std::move(nodes)}};
  }

  const ProfileFlags& flags_;
  Session session_;
  Profiler profiler_;
  std::optional<Roofline> roofline_;
  std::vector<ChainInfo> chains_;  // of whole steps; node by node there are none
};

}  // namespace

void add_profile(CLI::App& app, int& status) {
  auto flags = std::make_shared<ProfileFlags>();
  CLI::App* command = app.add_subcommand("profile", "Show where the time of a training step goes");
  command->add_option("--model", flags->model,
                      fmt::format("A model's name or a spec file (default {})", kDefaultModel));
  command->add_option("--data", flags->data, fmt::format("What to train on (default {})", kDefaultData));
  command->add_option("--batch", flags->batch, "Images in a step (default: the recipe's)");
  command->add_option("--steps", flags->steps, "Steps behind every time (default 20)")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--warmup", flags->warmup, "Steps before them (default 5)")
      ->check(CLI::Range(0, 1'000'000));
  command->add_option("--trace", flags->trace, "Write a trace for Perfetto or chrome://tracing");
  command->add_flag("--json", flags->json, "Print one JSON object");
  flags->device.add_to(*command);
  command->callback([flags, &status] {
    ProfileRun(*flags).execute();
    status = 0;
  });
}

}  // namespace quern::cli
