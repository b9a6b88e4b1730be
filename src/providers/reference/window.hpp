#pragma once

/// Geometry of sliding windows, in both directions, and max-pooling over one of them.

#include <cmath>

#include "providers/reference/view.hpp"

namespace quern::reference {

/// One axis of a window: tap t of output o reads input o * stride - pad + t * dilation.
struct Axis {
  Index in, out;  ///< extents
  int taps, stride, pad, dilation = 1;

  /// The input that tap t of output o reads; -1 when it lies in the padding.
  Index input_of(Index output, Index tap) const {
    const Index position = output * stride - pad + tap * dilation;
    return position >= 0 && position < in ? position : -1;
  }
  /// The output whose tap t reads this input; -1 when there is none.
  Index output_of(Index input, Index tap) const {
    const Index start = input + pad - tap * dilation;
    return start >= 0 && start % stride == 0 && start / stride < out ? start / stride : -1;
  }
};

/// Both axes of a window over an image [N,H,W,C] with an output [N,P,Q,..].
struct Axes {
  Axis h, w;
};
inline Axes axes(const Window& window, const Shape& image, const Shape& output, int dilation_h = 1,
                 int dilation_w = 1) {
  return {{image[1], output[1], window.r, window.stride_h, window.pad_top, dilation_h},
          {image[2], output[2], window.s, window.stride_w, window.pad_left, dilation_w}};
}

struct Maximum {
  double value;
  int index;  ///< r * S + s
};

/// The first maximum of value(h, w) over the part of window (p, q) inside the image; the first NaN wins.
template <class Value>
Maximum window_maximum(const Axes& axes, Index p, Index q, const Value& value) {
  Maximum best{0, -1};
  for (int r = 0; r < axes.h.taps; ++r) {
    for (int s = 0; s < axes.w.taps; ++s) {
      const Index h = axes.h.input_of(p, r), w = axes.w.input_of(q, s);
      if (h < 0 || w < 0) continue;
      const double candidate = value(h, w);
      const bool wins =
          best.index < 0 || (!std::isnan(best.value) && (std::isnan(candidate) || candidate > best.value));
      if (wins) best = {candidate, r * axes.w.taps + s};
    }
  }
  return best;
}

/// The sum of gradient(p, q) over the windows whose maximum, by argmax(p, q), is input element (h, w).
template <class Argmax, class Gradient>
double maximum_gradient(const Axes& axes, Index h, Index w, const Argmax& argmax, const Gradient& gradient) {
  double sum = 0;
  for (int r = 0; r < axes.h.taps; ++r) {
    for (int s = 0; s < axes.w.taps; ++s) {
      const Index p = axes.h.output_of(h, r), q = axes.w.output_of(w, s);
      if (p < 0 || q < 0) continue;
      if (argmax(p, q) == r * axes.w.taps + s) sum += gradient(p, q);
    }
  }
  return sum;
}

}  // namespace quern::reference
