#include "cli/train_words.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "quern/error.hpp"

namespace quern::cli {

bool contains(std::span<const char* const> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TrainParser::TrainParser() {
  app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  flags_.add_to(app_);
  for (const char* name : kNotInSweeps)
    if (std::string_view(name) != "--resume" && std::string_view(name) != "--run-dir")
      app_.remove_option(app_.get_option(name));
}

TrainRequest TrainParser::parse(std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app_.parse(words);
  } catch (const CLI::ParseError& error) {
    fail_input("{}", error.what());
  }
  return flags_.request();
}

bool TrainParser::has(const std::string& flag) const {
  return app_.get_option_no_throw(flag) != nullptr;
}

std::vector<std::string> TrainParser::varied() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app_.get_options())
    for (const std::string& name : option->get_lnames())
      if (!contains(kNotVaried, name) && name != "resume" && name != "run-dir") names.push_back(name);
  return names;
}

std::vector<std::string> train_words(const CLI::App& command) {
  const TrainParser parser;
  std::vector<std::string> words;
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    const std::string& name = option->get_lnames().front();
    constexpr const char* kOwn[] = {"seed", "json", "quiet", "no-save"};
    if (contains(kOwn, name) || !parser.has("--" + name)) continue;
    // Of a flag given twice the last one counts, but for those that are lists.
    const bool list = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    const std::vector<std::string>& given = option->results();
    for (std::size_t i = list ? 0 : given.size() - 1; i < given.size(); ++i)
      words.push_back(fmt::format("--{}={}", name, given[i]));
  }
  return words;
}

std::optional<std::string> value_of(const std::vector<std::string>& words, std::string_view flag) {
  for (const std::string& word : words)
    if (word.starts_with(fmt::format("{}=", flag))) return word.substr(flag.size() + 1);
  return std::nullopt;
}

}  // namespace quern::cli
