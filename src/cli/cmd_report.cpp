#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/report.hpp"
#include "train/run_folder.hpp"

namespace quern::cli {
namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::optional<std::string> output_file;
  OutputFlags output;
};

int run_report(const ReportFlags& flags) {
  std::vector<std::filesystem::path> runs(flags.runs.begin(), flags.runs.end());
  if (runs.empty()) runs.push_back(RunFolder::newest("runs"));
  const std::filesystem::path path = flags.output_file  ? std::filesystem::path(*flags.output_file)
                                     : runs.size() == 1 ? runs[0] / "report.html"
                                                        : std::filesystem::path("compare.html");
  write_file_atomically(path, render_report(runs));
  if (!flags.output.quiet && !flags.output.json) fmt::print("wrote {}\n", path.string());
  if (flags.output.json)
    fmt::print("{}\n", nlohmann::json{{"report", path.string()}, {"runs", runs.size()}}.dump());
  return 0;
}

}  // namespace

void add_report(CLI::App& app, int& status) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = app.add_subcommand(
      "report", "Write a run's report anew (report.html in its folder), or one page that compares several");
  command->add_option("run", flags->runs, "Run folders (default: the newest run)")->take_all();
  command->add_option(
      "-o,--output", flags->output_file,
      "Where to write it (default: report.html in the run's folder; compare.html for several)");
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_report(*flags); });
}

}  // namespace quern::cli
