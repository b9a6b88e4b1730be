#pragma once

/// The subcommands of `quern`, one file each (cmd_<name>.cpp).

#include <CLI/CLI.hpp>

namespace quern::cli {

/// Each adds its subcommand to `app`. When that subcommand is chosen, its callback does the work while the
/// command line is parsed, and either throws (main turns an Error into a message and an exit status) or
/// leaves its exit status in `status`: 0 good, 1 the answer is no, 2 bad usage or input, 3 the device or
/// system failed.
void add_train(CLI::App& app, int& status);
void add_sweep(CLI::App& app, int& status);
void add_eval(CLI::App& app, int& status);
void add_data(CLI::App& app, int& status);
void add_predict(CLI::App& app, int& status);
void add_check(CLI::App& app, int& status);
void add_export(CLI::App& app, int& status);
void add_import(CLI::App& app, int& status);
void add_bench(CLI::App& app, int& status);
void add_profile(CLI::App& app, int& status);
void add_info(CLI::App& app, int& status);
void add_report(CLI::App& app, int& status);
void add_models(CLI::App& app, int& status);
void add_completion(CLI::App& app, int& status);
void add_man(CLI::App& app, int& status);

}  // namespace quern::cli
