// Dense layers on row-major operands as they are: forward takes dot products along C (both operands have C
// innermost), backward to the data broadcasts dy against rows of w, the weight gradient broadcasts dy against
// rows of x. Nothing is transposed or packed but a ragged last vector of columns.
//
// Version history (seed-bn's first dense layer: 64 x 3136 -> 128, 51.4 MFLOP a pass, 0.22 ms at the floor of
// 2 cores):
//   v1  as above; predicted 0.27 ms a pass, as w (1.6 MB) comes from the third-level cache once per thread.
//   v2  forward in blocks of C: 0.26 ms of a step instead of 0.32 (dot_rows in isa/products.cpp).

#include <algorithm>
#include <numeric>

#include "providers/onednn/moments.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

std::vector<std::int32_t> iota(int n) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

class DenseForward final : public Executable {
 public:
  DenseForward(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        attrs_(desc.as<DenseAttrs>()),
        n_(static_cast<int>(desc.inputs[0].shape[0])),
        c_(static_cast<int>(desc.inputs[0].shape[1])),
        k_(static_cast<int>(desc.outputs[0].shape[1])) {
    if (attrs_.stats) {
      moments_step_ = Moments::bytes(k_);
      bytes_ = moments_step_ * static_cast<std::size_t>(parts);
    }
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    const auto product = [&](int part) { multiply(args, part); };
    if (!attrs_.stats) {
      parallel(parts_, product);
      return;
    }
    parallel(
        parts_, product,
        [&](int part) {
          const Range rows = share(n_, part, parts_);
          Moments moments(at<void>(args.workspace, moments_step_ * static_cast<std::size_t>(part)), k_);
          moments.reset();
          moments.add(kernels_, output(args, 0) + rows.begin * k_, rows.size());
        },
        [&](int part) {
          write_stats(args.workspace, moments_step_, parts_, k_, share(k_, part, parts_), output(args, 1));
        });
  }

 private:
  void multiply(const RunArgs& args, int part) const {
    // Whole rows to a thread keep its share of x in its own cache; few rows leave the columns to share.
    constexpr int kRowGrain = 6, kColGrain = 4;
    const bool by_rows = n_ >= kRowGrain * parts_;
    const Range rows = by_rows ? share(n_, part, parts_) : Range{0, n_};
    const Range cols = by_rows ? Range{0, k_} : share(k_, kColGrain, part, parts_);
    DotRows a;
    a.rows = static_cast<int>(rows.size());
    a.k = static_cast<int>(cols.size());
    a.c = c_;
    a.x = input(args, 0) + rows.begin * c_;
    a.w = input(args, 1) + cols.begin * c_;
    if (attrs_.bias) a.bias = input(args, 2) + cols.begin;
    a.relu = attrs_.relu;
    a.out = output(args, 0) + rows.begin * k_ + cols.begin;
    a.x_step = c_;
    a.w_step = c_;
    a.out_step = k_;
    kernels_.dot_rows(a);
  }

  const Kernels& kernels_;
  int parts_;
  DenseAttrs attrs_;
  int n_, c_, k_;
  std::size_t moments_step_ = 0, bytes_ = 0;
};

/// dx[n][c] = sum over k of dy[n][k] * w[k][c].
class DenseBackwardData final : public Executable {
 public:
  DenseBackwardData(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        mask_(desc.as<DenseAttrs>().mask),
        n_(static_cast<int>(desc.inputs[0].shape[0])),
        k_(static_cast<int>(desc.inputs[0].shape[1])),
        c_(static_cast<int>(desc.outputs[0].shape[1])),
        whole_(c_ / kernels_.lanes * kernels_.lanes),
        by_columns_(whole_ >= parts * kernels_.panel),
        taps_(iota(k_)) {
    if (whole_ < c_) {
      offsets_.resize(static_cast<std::size_t>(k_));
      for (std::size_t k = 0; k < offsets_.size(); ++k)
        offsets_[k] = static_cast<std::int64_t>(k) * c_ + whole_;
      bytes_ = static_cast<std::size_t>(k_) * static_cast<std::size_t>(kernels_.lanes) * sizeof(float);
    }
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    const auto product = [&](int part) { multiply(args, part); };
    if (whole_ == c_) {
      parallel(parts_, product);
      return;
    }
    parallel(
        parts_,
        [&](int part) {
          const Range taps = share(k_, part, parts_);
          kernels_.pack_rows({input(args, 1), offsets_.data(), c_ - whole_, k_, static_cast<int>(taps.begin),
                              static_cast<int>(taps.end), static_cast<float*>(args.workspace)});
        },
        product);
  }

 private:
  void multiply(const RunArgs& args, int part) const {
    const Range rows = by_columns_ ? Range{0, n_} : share(n_, part, parts_);
    const Range cols = by_columns_ ? share(whole_, kernels_.panel, part, parts_) : Range{0, whole_};
    ProductRows a;
    a.cols = static_cast<int>(rows.size());
    a.x = input(args, 0) + rows.begin * k_;
    a.x_pixel = k_;
    a.taps = taps_.data();
    a.n_taps = k_;
    a.out_pixel = c_;
    const auto columns = [&](std::int64_t begin, std::int64_t count) {
      a.k = static_cast<int>(count);
      a.out = output(args, 0) + rows.begin * c_ + begin;
      a.epilogue.mask = mask_ ? input(args, 2) + rows.begin * c_ + begin : nullptr;
      if (a.cols > 0 && count > 0) kernels_.product_rows(a);
    };
    a.w = input(args, 1) + cols.begin;
    a.w_step = c_;
    columns(cols.begin, cols.size());
    if (whole_ == c_ || (by_columns_ && part != parts_ - 1)) return;
    a.w = static_cast<const float*>(args.workspace);
    a.w_step = 0;
    columns(whole_, c_ - whole_);
  }

  const Kernels& kernels_;
  int parts_;
  bool mask_;
  int n_, k_, c_;
  int whole_;  // columns in whole vectors
  bool by_columns_;
  std::vector<std::int32_t> taps_;
  std::vector<std::int64_t> offsets_;
  std::size_t bytes_ = 0;
};

/// dw[k][c] = sum over n of dy[n][k] * x[n][c].
class DenseBackwardWeights final : public Executable {
 public:
  DenseBackwardWeights(const OpDesc& desc, int parts)
      : kernels_(kernels()),
        parts_(parts),
        bias_(desc.as<DenseAttrs>().bias),
        n_(static_cast<int>(desc.inputs[0].shape[0])),
        k_(static_cast<int>(desc.inputs[0].shape[1])),
        c_(static_cast<int>(desc.inputs[1].shape[1])),
        by_columns_(c_ >= parts * kernels_.panel),
        taps_(iota(k_)) {
    if (bias_) bytes_ = static_cast<std::size_t>(round_up(k_, 32)) * sizeof(float);
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    parallel(parts_, [&](int part) {
      const Range cols = by_columns_ ? share(c_, kernels_.panel, part, parts_) : Range{0, c_};
      const Range taps = by_columns_ ? Range{0, k_} : share(k_, part, parts_);
      OuterRows a;
      a.cols = n_;
      a.a = input(args, 0);
      a.a_pixel = k_;
      a.taps = taps_.data() + taps.begin;
      a.n_taps = static_cast<int>(taps.size());
      a.b = input(args, 1) + cols.begin;
      a.b_pixel = c_;
      a.k = static_cast<int>(cols.size());
      a.out = output(args, 0) + taps.begin * c_ + cols.begin;
      a.out_step = c_;
      kernels_.outer_rows(a);
      if (!bias_ || part != 0) return;
      float* sums = static_cast<float*>(args.workspace);
      std::fill_n(sums, round_up(k_, 32), 0.0f);
      constexpr std::int64_t kRows = 256;  // a few hundred at a time keep the rounding error small
      for (std::int64_t row = 0; row < n_; row += kRows)
        kernels_.channel_sums(
            {input(args, 0) + row * k_, std::min(kRows, n_ - row), k_, nullptr, sums, nullptr});
      std::copy_n(sums, k_, output(args, 1));
    });
  }

 private:
  const Kernels& kernels_;
  int parts_;
  bool bias_;
  int n_, k_, c_;
  bool by_columns_;
  std::vector<std::int32_t> taps_;
  std::size_t bytes_ = 0;
};

}  // namespace

void add_dense(Registry& registry) {
  add_implementation(registry, "direct", {OpKind::dense, Direction::forward}, never_refuses,
                     prepare_as<DenseForward>());
  add_implementation(registry, "direct", {OpKind::dense, Direction::backward_data}, never_refuses,
                     prepare_as<DenseBackwardData>());
  add_implementation(registry, "direct", {OpKind::dense, Direction::backward_weights}, never_refuses,
                     prepare_as<DenseBackwardWeights>());
}

}  // namespace quern::onednn
