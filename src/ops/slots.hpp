#pragma once

/// The slot table of quern/op.hpp as data: which operands an operation has, under which name and type.

#include <vector>

#include "quern/op.hpp"

namespace quern {

enum class SlotType : std::uint8_t {
  f32,
  activation,  ///< f32, or bf16 where the precision is bf16
  f64,
  i32,
  u32,
  u8,
  step,   ///< u8[64], a StepScalars
  steps,  ///< u8[S,64], a table of them
};

struct Slot {
  const char* name;
  SlotType type;
};

struct SlotLists {
  std::vector<Slot> inputs, outputs;
};

/// The operands `desc.op` has under `desc.attrs`. Throws an input error for a key that is no operation and
/// for attributes that belong to another one.
SlotLists slots_of(const OpDesc& desc);

}  // namespace quern
