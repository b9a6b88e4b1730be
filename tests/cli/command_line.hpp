#pragma once

/// The program's command line, parsed as main() does, without carrying anything out.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/app.hpp"
#include "cli/mistakes.hpp"

namespace quern::test {

class CommandLine {
 public:
  CommandLine() : app_("test", "quern") {
    cli::set_up(app_, status_);
    // Called when all is parsed, before the commands do their work.
    app_.parse_complete_callback([] { throw Understood(); });
  }
  CLI::App& app() { return app_; }

  /// Empty where the words are understood, else the message. `words` without the program's name.
  std::string parse(const std::vector<std::string>& words) {
    try {
      if (!words.empty()) cli::check_command(app_, words[0]);
      app_.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    } catch (const Understood&) {
      return "";
    } catch (const CLI::Success&) {  // --help, --version
      return "";
    } catch (const CLI::ParseError& error) {
      return cli::message_of(app_, error);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "nothing was chosen";
  }

  /// All commands and those below them.
  static std::vector<const CLI::App*> commands(const CLI::App& app) {
    std::vector<const CLI::App*> all;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      all.push_back(command);
      const auto below = commands(*command);
      all.insert(all.end(), below.begin(), below.end());
    }
    return all;
  }

 private:
  struct Understood {};
  int status_ = 0;
  CLI::App app_;
};

/// What a shell would make of a line without variables: words apart by blanks, single quotes, up to "|" or
/// ">".
inline std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words;
  bool quoted = false, in_word = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      if (!in_word) words.emplace_back();
      in_word = true;
    } else if (c == ' ' && !quoted) {
      in_word = false;
    } else {
      if (!in_word) words.emplace_back();
      in_word = true;
      words.back() += c;
    }
    if (!quoted && in_word && (words.back() == "|" || words.back() == ">")) {
      words.pop_back();
      break;
    }
  }
  return words;
}

}  // namespace quern::test
