#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/assumed_gpu.hpp"
#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/train_flags.hpp"
#include "quern/autotune.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"
#include "quern/version.hpp"
#include "train/run_folder.hpp"

namespace quern::cli {
namespace {

struct InfoFlags {
  bool plan = false, training = false, evaluation = false;
  std::optional<std::string> model, assume;
  std::optional<std::int64_t> batch;
  DeviceFlags device;
  bool json = false;
};

void print_plan(const InfoFlags& flags) {
  ModelSpec spec = load_model_spec(flags.model.value_or(kDefaultModel));
  const SessionOptions options = flags.device.over({});
  if (flags.batch && *flags.batch < 1) fail_input("--batch {}: must be at least 1", *flags.batch);
  if (flags.assume && flags.device.device && *flags.device.device != "cuda")
    fail_input("--assume {} is about a GPU, --device is {}: leave one out", *flags.assume,
               *flags.device.device);
  std::unique_ptr<Device> opened;
  if (!flags.assume) opened = open_device(options.device, options.threads);
  if (opened && options.allow_nondeterministic) opened->allow_nondeterministic();
  DeviceInfo device = opened ? opened->info() : assumed_device(*flags.assume);
  if (!opened) device.allow_nondeterministic = options.allow_nondeterministic;
  GraphOptions graph;
  graph.training = !flags.evaluation;
  graph.batch = flags.batch.value_or(spec.recipe.batch_size);
  graph.precision = options.precision.value_or(default_precision(device));
  graph.fuse = options.fuse;
  const Registry registry = Registry::with_all_providers();
  PlanOptions plan_options;
  plan_options.forced = parse_impl_choices(options.impls);
  graph.few_launches = wants_few_launches(device, plan_options.forced);
  Plan plan = make_plan(build_graph(spec, graph), registry, device, plan_options);
  const bool timed = leaves_to_auto(plan, plan_options);
  if (timed && !opened)
    fail_input("--impl auto times implementations on the device itself: leave --assume {} out",
               *flags.assume);
  if (timed) {
    TimingCache times = TimingCache::of_user();
    choose_by_time(plan, registry, *opened, plan_options, times);
    times.save();
  }
  if (flags.json) {
    nlohmann::json json = to_json(plan);
    json["model"] = spec.name;
    json["batch_size"] = graph.batch;
    json["training"] = graph.training;
    fmt::print("{}\n", json.dump());
  } else {
    fmt::print("{}", format_plan(plan));
  }
}

/// What `open_device` finds, or why it does not.
nlohmann::json device_json(const std::string& name) {
  try {
    const auto device = open_device(name);
    const DeviceInfo& info = device->info();
    nlohmann::json json = {
        {"device", name}, {"found", true}, {"name", info.name}, {"memory_bytes", info.memory_bytes}};
    if (info.kind == DeviceKind::cuda) {
      json["sm"] = info.sm;
      json["multiprocessors"] = info.multiprocessors;
    } else {
      json["threads"] = info.threads;
    }
    return json;
  } catch (const Error& error) {
    return {{"device", name}, {"found", false}, {"reason", error.what()}};
  }
}

nlohmann::json find_devices() {
  nlohmann::json devices = nlohmann::json::array();
  for (const char* name : {"cpu", "emu", "cuda:0"}) devices.push_back(device_json(name));
  for (int index = 1; devices.back()["found"].get<bool>(); ++index) {
    nlohmann::json next = device_json(fmt::format("cuda:{}", index));
    if (!next["found"].get<bool>()) break;
    devices.push_back(std::move(next));
  }
  return devices;
}

/// Implementations per provider and device.
nlohmann::json find_providers() {
  const Registry registry = Registry::with_all_providers();
  std::map<std::pair<std::string, std::string>, int> counts;
  for (const OpKey op : all_operations())
    for (const Implementation& implementation : registry.candidates(op))
      ++counts[{to_string(implementation.provider), to_string(implementation.device)}];
  nlohmann::json providers = nlohmann::json::array();
  for (const auto& [key, count] : counts)
    providers.push_back({{"provider", key.first}, {"device", key.second}, {"implementations", count}});
  return providers;
}

std::string describe_device(const nlohmann::json& device) {
  if (!device["found"].get<bool>()) return device["reason"];
  std::string text = device["name"];
  if (device.contains("threads")) text += fmt::format(", {} threads", device["threads"].get<int>());
  if (device.contains("sm"))
    text += fmt::format(", sm_{}, {} multiprocessors", device["sm"].get<int>(),
                        device["multiprocessors"].get<int>());
  const double gib = device["memory_bytes"].get<double>() / (1 << 30);
  return gib > 0 ? fmt::format("{}, {:.1f} GiB", text, gib) : text;
}

void print_build(bool json) {
#ifdef QUERN_HAVE_CUDA
  constexpr bool cuda = true;
#else
  constexpr bool cuda = false;
#endif
  const nlohmann::json devices = find_devices(), providers = find_providers();
  if (json) {
    fmt::print("{}\n", nlohmann::json{{"quern_version", version()},
                                      {"compiler", __VERSION__},
                                      {"cuda", cuda},
                                      {"rng", kRandomScheme},
                                      {"devices", devices},
                                      {"providers", providers}}
                           .dump());
    return;
  }
  fmt::print("quern {}\ncompiler   {}\nCUDA       {}\nrandom     {}\n\n", version(), __VERSION__,
             cuda ? "built in" : "not built in", kRandomScheme);
  std::vector<std::vector<std::string>> rows;
  for (const auto& device : devices)
    rows.push_back({device["device"], device["found"].get<bool>() ? "yes" : "no", describe_device(device)});
  fmt::print("{}\n", format_table({"device", "found", "what it is"}, rows));
  rows.clear();
  for (const auto& provider : providers)
    rows.push_back(
        {provider["provider"], provider["device"], std::to_string(provider["implementations"].get<int>())});
  fmt::print("{}", format_table({"provider", "device", ">implementations"}, rows));
}

}  // namespace

void add_info(CLI::App& app, int& status) {
  auto flags = std::make_shared<InfoFlags>();
  CLI::App* command =
      app.add_subcommand("info", "Show the build, its devices and providers, or a model's plan");
  command->add_flag("--plan", flags->plan,
                    "Show the plan of a model: nodes, shapes, implementations, memory");
  command->add_option("--model", flags->model, fmt::format("Of the plan (default {})", kDefaultModel));
  command->add_option("--batch", flags->batch, "Of the plan (default: the recipe's)");
  CLI::Option* training =
      command->add_flag("--training", flags->training, "Plan a training step (the default)");
  command->add_flag("--eval", flags->evaluation, "Plan an evaluation step")->excludes(training);
  command->add_option("--assume", flags->assume, "Plan for a GPU that is not here, e.g. sm_90");
  command->add_flag("--json", flags->json, "Print one JSON object");
  flags->device.add_to(*command);
  command->callback([flags, &status] {
    if (!flags->plan &&
        (flags->model || flags->assume || flags->batch || flags->training || flags->evaluation))
      fail_input("--model, --batch, --training, --eval and --assume are about a plan: add --plan");
    if (flags->plan) {
      print_plan(*flags);
    } else {
      print_build(flags->json);
    }
    status = 0;
  });
}

}  // namespace quern::cli
