#include "cli/values.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include "cli/assumed_gpu.hpp"
#ifdef QUERN_HAVE_CHECK
#include "quern/bench.hpp"
#include "quern/check.hpp"
#endif
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/exchange.hpp"
#include "quern/executor.hpp"
#include "quern/implementation.hpp"
#include "quern/recipe.hpp"

namespace quern::cli {
namespace {

template <class Kind>
std::vector<std::string> names_of(std::initializer_list<Kind> kinds) {
  std::vector<std::string> names;
  for (const Kind kind : kinds) names.emplace_back(to_string(kind));
  return names;
}

std::vector<std::string> precisions() {
  std::vector<std::string> names = names_of({Precision::fp32, Precision::tf32, Precision::bf16});
  names.insert(names.begin(), "auto");
  return names;
}

/// conv2d, conv2d.forward, ...
std::vector<std::string> operations() {
  std::vector<std::string> names;
  for (const OpKey& key : all_operations())
    for (const std::string& name : {std::string(to_string(key.kind)), to_string(key)})
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

std::vector<std::string> providers() {
  std::vector<std::string> names{"auto"};
  const Registry registry = Registry::with_all_providers();
  for (const OpKey& key : all_operations())
    for (const Implementation& implementation : registry.candidates(key))
      if (const std::string name = to_string(implementation.provider);
          std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
  return names;
}

/// None where there is no folder of models: then a file is meant, or loading says what is wrong.
std::vector<std::string> models() {
  try {
    return model_names();
  } catch (const Error&) {
    return {};
  }
}

using Names = std::function<std::vector<std::string>()>;

const std::map<std::string, Names>& closed_lists() {
  static const std::map<std::string, Names> lists{
      {"--optimizer",
       [] {
         return names_of({OptimizerKind::adam, OptimizerKind::adamw, OptimizerKind::sgd,
                          OptimizerKind::momentum, OptimizerKind::nesterov});
       }},
      {"--schedule",
       [] {
         return names_of(
             {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine, ScheduleKind::one_cycle});
       }},
      {"--precision", precisions},
      {"--graph",
       [] {
         return names_of({GraphMode::automatic, GraphMode::loop, GraphMode::unrolled, GraphMode::off});
       }},
      {"--on-nan",
       [] {
         return std::vector<std::string>{"stop", "skip"};
       }},
      {"--layout",
       [] {
         return names_of({WeightHome::torch, WeightHome::keras});
       }},
      {"--assume", assumed_gpu_names},
      {"--op", operations},
#ifdef QUERN_HAVE_CHECK
      {"--mode",
       [] {
         return names_of({CheckMode::test, CheckMode::grad, CheckMode::perf, CheckMode::support});
       }},
      {"--shape-set",
       [] {
         return names_of({ShapeSet::seed, ShapeSet::resnet, ShapeSet::sweep});
       }},
#endif
      {"shell",
       [] {
         return std::vector<std::string>{"bash", "zsh", "fish"};
       }},
  };
  return lists;
}

bool is_spec_file(const std::string& value) {
  return value.ends_with(".json") || value.find('/') != std::string::npos;
}
bool is_numbered_gpu(const std::string& value) {
  constexpr std::string_view prefix = "cuda:";
  return value.starts_with(prefix) && value.size() > prefix.size() &&
         value.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
}
/// Whoever uses the value says what is wrong with it.
bool anything(const std::string&) {
  return true;
}

struct OpenList {
  Names names;
  const char* others;
  bool (*is_other)(const std::string&);
};

const std::map<std::string, OpenList>& open_lists() {
  static const OpenList model{models, "a JSON file", is_spec_file};
  static const std::map<std::string, OpenList> lists{
      {"--model", model},
      {"model", model},
      {"--data",
       {[] {
          return std::vector<std::string>{"mnist", "fashion-mnist"};
        },
        "a folder", anything}},
      {"--device",
       {[] {
          return std::vector<std::string>{"auto", "cpu", "emu", "cuda"};
        },
        "cuda:N", is_numbered_gpu}},
      {"--impl", {providers, "an implementation", anything}},
  };
  return lists;
}

}  // namespace

std::optional<FlagValues> values_of(const CLI::Option& option) {
  const std::string name =
      option.get_lnames().empty() ? option.get_name(true) : "--" + option.get_lnames().front();
  if (const auto list = closed_lists().find(name); list != closed_lists().end())
    return FlagValues{list->second(), "", nullptr};
  if (const auto list = open_lists().find(name); list != open_lists().end())
    return FlagValues{list->second.names(), list->second.others, list->second.is_other};
  return std::nullopt;
}

}  // namespace quern::cli
