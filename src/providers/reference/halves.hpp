#pragma once

/// conv2d.backward and dense.backward: one gradient after the other, by the loops of their own operations.

#include "providers/reference/ops.hpp"

namespace quern::reference {

/// Slots dy, x, w -> dx, dw, [dbias] as (dy, w, [x: mask]) -> dx and (dy, x) -> dw, [dbias].
template <class Attributes, class Function>
void run_halves(const OpDesc& desc, const RunArgs& args, Function to_data, Function to_weights) {
  OpDesc data{{desc.op.kind, Direction::backward_data},
              desc.attrs,
              {desc.inputs[0], desc.inputs[2]},
              {desc.outputs[0]},
              desc.precision};
  std::vector<void*> data_in{args.in[0], args.in[2]};
  if (desc.as<Attributes>().mask) {
    data.inputs.push_back(desc.inputs[1]);
    data_in.push_back(args.in[1]);
  }
  const OpDesc weights{{desc.op.kind, Direction::backward_weights},
                       desc.attrs,
                       {desc.inputs[0], desc.inputs[1]},
                       {desc.outputs.begin() + 1, desc.outputs.end()},
                       desc.precision};
  to_data(data, {data_in, args.out.first(1), args.workspace, args.stream});
  to_weights(weights, {args.in.first(2), args.out.subspan(1), args.workspace, args.stream});
}

}  // namespace quern::reference
