#pragma once

/// What is said about a command line that cannot be carried out.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace quern::cli {

/// Has every flag of `app` and its commands look at its value before CLI11 does, so that a message names the
/// flag, the value and what is allowed.
void guard_values(CLI::App& app);

/// Throws an input error that lists the commands when the first argument is none of them, nor a flag. (CLI11
/// would only say that a command is required.)
void check_command(const CLI::App& app, std::string_view first);

/// One line: what is wrong, what may have been meant, where to look.
std::string message_of(const CLI::App& app, const CLI::ParseError& error);

}  // namespace quern::cli
