#pragma once

/// Geometry of a pooling window for the kernels, and how a batch's rows are dealt out to threads.

#include <cstdint>
#include <vector>

#include "providers/onednn/kernels.hpp"
#include "providers/onednn/threads.hpp"
#include "quern/op.hpp"

namespace quern::onednn {

class PoolingPlan {
 public:
  PoolingPlan(const Shape& input, const Shape& output, const Window& window);

  /// Points into this object.
  Pooling geometry() const noexcept;
  std::int64_t input_image() const noexcept {
    return std::int64_t{pooling_.h} * pooling_.w * pooling_.channels;
  }
  std::int64_t output_image() const noexcept {
    return std::int64_t{pooling_.p} * pooling_.q * pooling_.channels;
  }

  /// Calls visit(image, begin, end) for this part's share of all output (input) rows, image by image.
  template <class Visit>
  void for_output_rows(int part, int parts, const Visit& visit) const {
    for_rows(pooling_.p, share(images_ * pooling_.p, part, parts), visit);
  }
  template <class Visit>
  void for_input_rows(int part, int parts, const Visit& visit) const {
    for_rows(pooling_.h, share(images_ * pooling_.h, part, parts), visit);
  }
  /// The same for all rows of some images.
  template <class Visit>
  void for_output_rows(Range images, const Visit& visit) const {
    for_rows(pooling_.p, {images.begin * pooling_.p, images.end * pooling_.p}, visit);
  }
  template <class Visit>
  void for_input_rows(Range images, const Visit& visit) const {
    for_rows(pooling_.h, {images.begin * pooling_.h, images.end * pooling_.h}, visit);
  }

 private:
  /// `range`: of the rows of the whole batch.
  template <class Visit>
  static void for_rows(int rows, Range range, const Visit& visit) {
    for (std::int64_t row = range.begin; row < range.end;) {
      const std::int64_t image = row / rows,
                         end = image * rows + rows < range.end ? image * rows + rows : range.end;
      visit(image, static_cast<int>(row - image * rows), static_cast<int>(end - image * rows));
      row = end;
    }
  }

  std::int64_t images_;
  Pooling pooling_;
  std::vector<std::int32_t> p_begin_, p_end_, q_begin_, q_end_;
};

}  // namespace quern::onednn
