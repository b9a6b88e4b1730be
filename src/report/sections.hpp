#pragma once

/// The sections of a report, each a piece of HTML; empty where the run has nothing to show.

#include <span>
#include <string>

#include "report/run_record.hpp"

namespace quern {

std::string section_facts(const RunRecord& run);
std::string section_curves(const RunRecord& run);
std::string section_confusion(const TestRecord& test);
std::string section_classes(const TestRecord& test);
std::string section_mistakes(const TestRecord& test);
std::string section_filters(const RunRecord& run);
std::string section_network(const ModelSpec& spec);
std::string section_time(const RunRecord& run);
std::string section_repeat(const RunRecord& run);
/// Several runs side by side.
std::string section_comparison(std::span<const RunRecord> runs);

/// "1:05", "12.3 s".
std::string duration_text(double seconds);

}  // namespace quern
