#pragma once

/// RunSettings and TrainState as JSON, for checkpoints and config.json.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "quern/checkpoint.hpp"
#include "quern/dataset.hpp"

namespace quern {

DataFingerprint fingerprint_of(const Split& images);
nlohmann::json to_json(const DataFingerprint& data);
nlohmann::json to_json(const RunSettings& run);
nlohmann::json to_json(const TrainState& state);
/// Throw input errors that start with `where`.
bool parse_on_nan(std::string_view text, std::string_view where);  ///< "stop" or "skip": whether to skip
RunSettings parse_run_settings(std::string_view text, const std::string& where);
TrainState parse_train_state(std::string_view text, const std::string& where);

}  // namespace quern
