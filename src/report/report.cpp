#include <fmt/format.h>

#include "quern/error.hpp"
#include "quern/version.hpp"
#include "report/html.hpp"
#include "report/sections.hpp"

namespace quern {
namespace {

/// No script and no address outside the page: the policy holds a browser to it.
std::string page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n<title>{}</title>\n<style>{}</style>"
      "</head>\n<body><main>\n{}<p class=\"soft note\" style=\"margin-top:48px\">quern "
      "{}</p>\n</main></body></html>\n",
      escape(title), kReportStyle, body, escape(version()));
}

/// 20261231T235959Z -> 2026-12-31 23:59 UTC
std::string readable_time(const std::string& text) {
  if (text.size() != 16 || text[8] != 'T') return text;
  return fmt::format("{}-{}-{} {}:{} UTC", text.substr(0, 4), text.substr(4, 2), text.substr(6, 2),
                     text.substr(9, 2), text.substr(11, 2));
}

std::string single(const RunRecord& run) {
  std::string body = fmt::format("<h1>{}</h1><p class=\"soft\">{} on {}, {}</p>\n", escape(run.spec.name),
                                 escape(run.name), escape(run.test ? run.test->data : run.run_text("data")),
                                 escape(readable_time(run.text("created"))));
  body += section_facts(run) + section_curves(run);
  if (run.test) {
    body += section_confusion(*run.test) + section_classes(*run.test) + section_mistakes(*run.test);
  } else {
    body += "<p class=\"note\">The test set has not been looked at: the run has not ended.</p>\n";
  }
  return body + section_filters(run) + section_time(run) + section_network(run.spec) + section_repeat(run);
}

}  // namespace

std::string render_report(std::span<const std::filesystem::path> runs) {
  QUERN_REQUIRE(!runs.empty(), "a report of no run");
  std::vector<RunRecord> records;
  for (const auto& folder : runs) records.push_back(load_run(folder));
  if (records.size() == 1)
    return page(fmt::format("{} - {}", records[0].spec.name, records[0].name), single(records[0]));
  return page(fmt::format("{} runs", records.size()),
              fmt::format("<h1>{} runs compared</h1>\n", records.size()) + section_comparison(records));
}

}  // namespace quern
