#pragma once

/// Single fields of a model spec, replaced from the command line: "layers.conv1.filters=16".

#include <span>
#include <string>

#include "quern/model_spec.hpp"

namespace quern {

/// load_model_spec() with fields replaced before the spec is checked. An override is FIELD=VALUE, FIELD one
/// of layers.NAME.FIELD, input.FIELD, recipe.FIELD, recipe.schedule.FIELD and recipe.augment.FIELD with the
/// names that specs use (model_spec.hpp), VALUE as a spec has it; quotes around a text may be left out.
/// Fields that the spec leaves to their defaults can be set too, a layer's name and op cannot. Throws input
/// errors that name the override and the nearest layer or field.
ModelSpec load_model_spec(const std::string& name_or_path, std::span<const std::string> overrides);

/// The same on a spec in memory.
ModelSpec override_spec(const ModelSpec& spec, std::span<const std::string> overrides);

/// A spec's JSON and what names it in messages.
struct SpecText {
  std::string text, where;
};
/// What load_model_spec() parses.
SpecText read_spec_text(const std::string& name_or_path);

}  // namespace quern
