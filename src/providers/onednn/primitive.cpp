// oneDNN's own primitives on NHWC: convolutions of any kind and dense layers. They stand behind this
// provider's kernels, which are faster on every shape measured so far, and serve as its yardstick (--impl
// conv2d=onednn:nhwc).
//
// Primitives, memories and argument lists are made once; a run sets the operands' addresses and executes.
// Weights have the format that the primitive prefers and are reordered on every run, for they change every
// step. The library's own execute allocates its argument map; nothing here does.

#include <dnnl.hpp>

#include <fmt/format.h>

#include <omp.h>

#include <optional>
#include <vector>

#include "providers/onednn/conv_plan.hpp"
#include "providers/onednn/moments.hpp"
#include "providers/onednn/support.hpp"

namespace quern::onednn {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

dnnl::engine& engine() {
  static dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

memory::desc plain(const memory::dims& dims, Tag tag) {
  return {dims, memory::data_type::f32, tag};
}

/// The library deals work out to omp_get_max_threads(), at creation and at execution alike.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadCount() { omp_set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

using Arguments = std::vector<std::pair<int, memory::desc>>;

/// A primitive with its arguments, whose addresses are set for each run.
class Step {
 public:
  Step(dnnl::primitive primitive, const Arguments& arguments) : primitive_(std::move(primitive)) {
    memories_.reserve(arguments.size());
    for (const auto& [index, desc] : arguments) {
      memories_.emplace_back(desc, engine(), nullptr);
      arguments_.push_back({index, memories_.back().get()});
    }
  }

  /// Addresses in the order of the constructor's arguments.
  void run(const dnnl::stream& stream, std::initializer_list<void*> addresses) {
    std::size_t i = 0;
    for (void* address : addresses)
      dnnl::error::wrap_c_api(dnnl_memory_set_data_handle(memories_[i++].get(), address),
                              "oneDNN refuses an address");
    dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive_.get(), stream.get(),
                                                   static_cast<int>(arguments_.size()), arguments_.data()),
                            "oneDNN cannot execute a primitive");
  }

 private:
  dnnl::primitive primitive_;
  std::vector<memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// Extents and stored formats of the operands of a convolution, or of a dense layer as matrices.
struct Formats {
  memory::desc x, y, w, bias;
  memory::desc any_w;  ///< the weights in a format of the library's choice
  memory::dims strides, dilations, pad_before, pad_after;
};

Formats conv_formats(const OpDesc& desc) {
  const ConvShape s = ConvShape::of(desc);
  Formats f;
  f.x = plain({s.n, s.c, s.h, s.w}, Tag::nhwc);
  f.y = plain({s.n, s.k, s.p, s.q}, Tag::nhwc);
  f.bias = plain({s.k}, Tag::x);
  const memory::dims one_group{s.k, s.c, s.r, s.s};
  const memory::dims many_groups{s.groups, s.group_k(), s.group_c(), s.r, s.s};
  f.w = s.groups == 1 ? plain(one_group, Tag::ohwi) : plain(many_groups, Tag::gohwi);
  f.any_w = plain(s.groups == 1 ? one_group : many_groups, Tag::any);
  f.strides = {s.stride_h, s.stride_w};
  f.dilations = {s.dilation_h - 1, s.dilation_w - 1};
  f.pad_before = {s.pad_top, s.pad_left};
  // What no window reaches is no padding of the library's kind.
  const auto reached = [](int out, int stride, int taps, int dilation, int before, int in) {
    return memory::dim{(out - 1) * stride + (taps - 1) * dilation + 1 - before - in};
  };
  f.pad_after = {reached(s.p, s.stride_h, s.r, s.dilation_h, s.pad_top, s.h),
                 reached(s.q, s.stride_w, s.s, s.dilation_w, s.pad_left, s.w)};
  return f;
}

Formats dense_formats(const OpDesc& desc) {
  const bool forward = desc.op.direction == Direction::forward;
  const bool to_data = desc.op.direction == Direction::backward_data;
  const Shape& x = forward ? desc.inputs[0].shape : to_data ? desc.outputs[0].shape : desc.inputs[1].shape;
  const Shape& y = forward ? desc.outputs[0].shape : desc.inputs[0].shape;
  Formats f;
  f.x = plain({x[0], x[1]}, Tag::ab);
  f.y = plain({y[0], y[1]}, Tag::ab);
  f.w = plain({y[1], x[1]}, Tag::ab);
  f.any_w = plain({y[1], x[1]}, Tag::any);
  f.bias = plain({y[1]}, Tag::x);
  return f;
}

dnnl::primitive_attr attributes(bool relu = false) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops ops;
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    attr.set_post_ops(ops);
  }
  return attr;
}

constexpr auto kDirect = dnnl::algorithm::convolution_direct;
constexpr auto kTraining = dnnl::prop_kind::forward_training;

dnnl::convolution_forward::primitive_desc conv_forward(const Formats& f, bool bias, bool relu) {
  using Desc = dnnl::convolution_forward::desc;
  const Desc desc =
      bias ? Desc(kTraining, kDirect, f.x, f.any_w, f.bias, f.y, f.strides, f.dilations, f.pad_before,
                  f.pad_after)
           : Desc(kTraining, kDirect, f.x, f.any_w, f.y, f.strides, f.dilations, f.pad_before, f.pad_after);
  return {desc, attributes(relu), engine()};
}

dnnl::inner_product_forward::primitive_desc dense_forward(const Formats& f, bool bias, bool relu) {
  using Desc = dnnl::inner_product_forward::desc;
  const Desc desc = bias ? Desc(kTraining, f.x, f.any_w, f.bias, f.y) : Desc(kTraining, f.x, f.any_w, f.y);
  return {desc, attributes(relu), engine()};
}

/// A primitive and the formats it chose.
struct Built {
  dnnl::primitive primitive;
  memory::desc weights, scratchpad;
};

template <class Primitive, class PrimitiveDesc>
Built built(const PrimitiveDesc& desc, const memory::desc& weights) {
  return {Primitive(desc), weights, desc.scratchpad_desc()};
}

Built build_conv(const OpDesc& desc, const Formats& f) {
  const auto& attrs = desc.as<Conv2dAttrs>();
  if (desc.op.direction == Direction::forward) {
    const auto pd = conv_forward(f, attrs.bias, attrs.relu);
    return built<dnnl::convolution_forward>(pd, pd.weights_desc());
  }
  const auto hint = conv_forward(f, false, false);
  if (desc.op.direction == Direction::backward_data) {
    const dnnl::convolution_backward_data::primitive_desc pd(
        {kDirect, f.x, f.any_w, f.y, f.strides, f.dilations, f.pad_before, f.pad_after}, attributes(),
        engine(), hint);
    return built<dnnl::convolution_backward_data>(pd, pd.weights_desc());
  }
  using Weights = dnnl::convolution_backward_weights;
  const Weights::desc gradient = attrs.bias ? Weights::desc(kDirect, f.x, f.any_w, f.bias, f.y, f.strides,
                                                            f.dilations, f.pad_before, f.pad_after)
                                            : Weights::desc(kDirect, f.x, f.any_w, f.y, f.strides,
                                                            f.dilations, f.pad_before, f.pad_after);
  const Weights::primitive_desc pd(gradient, attributes(), engine(), hint);
  return built<Weights>(pd, pd.diff_weights_desc());
}

Built build_dense(const OpDesc& desc, const Formats& f) {
  const auto& attrs = desc.as<DenseAttrs>();
  if (desc.op.direction == Direction::forward) {
    const auto pd = dense_forward(f, attrs.bias, attrs.relu);
    return built<dnnl::inner_product_forward>(pd, pd.weights_desc());
  }
  const auto hint = dense_forward(f, false, false);
  if (desc.op.direction == Direction::backward_data) {
    const dnnl::inner_product_backward_data::primitive_desc pd({f.x, f.any_w, f.y}, attributes(), engine(),
                                                               hint);
    return built<dnnl::inner_product_backward_data>(pd, pd.weights_desc());
  }
  using Weights = dnnl::inner_product_backward_weights;
  const Weights::desc gradient =
      attrs.bias ? Weights::desc(f.x, f.any_w, f.bias, f.y) : Weights::desc(f.x, f.any_w, f.y);
  const Weights::primitive_desc pd(gradient, attributes(), engine(), hint);
  return built<Weights>(pd, pd.diff_weights_desc());
}

/// The attributes that conv2d and dense share.
struct Fused {
  bool bias, stats, mask;
};
Fused fused(const OpDesc& desc) {
  if (desc.op.kind == OpKind::dense) {
    const auto& attrs = desc.as<DenseAttrs>();
    return {attrs.bias, attrs.stats, attrs.mask};
  }
  const auto& attrs = desc.as<Conv2dAttrs>();
  return {attrs.bias, attrs.stats, attrs.mask};
}

class PrimitiveRun final : public Executable {
 public:
  PrimitiveRun(const OpDesc& desc, int threads)
      : kernels_(kernels()),
        threads_(threads),
        direction_(desc.op.direction),
        fused_(fused(desc)),
        stream_(engine()) {
    const ThreadCount count(threads);
    const bool conv = desc.op.kind == OpKind::conv2d;
    const Formats f = conv ? conv_formats(desc) : dense_formats(desc);
    const Built primitive = conv ? build_conv(desc, f) : build_dense(desc, f);
    const bool to_weights = direction_ == Direction::backward_weights;

    Layout layout;
    if (primitive.weights != f.w) {
      const memory::desc from = to_weights ? primitive.weights : f.w,
                         to = to_weights ? f.w : primitive.weights;
      const dnnl::reorder::primitive_desc pd(engine(), from, engine(), to, attributes());
      weights_ = layout.add<std::byte>(primitive.weights.get_size());
      reorder_scratch_ = layout.add<std::byte>(pd.scratchpad_desc().get_size());
      reorder_.emplace(
          dnnl::reorder(pd),
          Arguments{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}});
    }
    scratch_ = layout.add<std::byte>(primitive.scratchpad.get_size());

    Arguments arguments;
    switch (direction_) {
      case Direction::forward:
        arguments = {{DNNL_ARG_SRC, f.x}, {DNNL_ARG_WEIGHTS, primitive.weights}, {DNNL_ARG_DST, f.y}};
        break;
      case Direction::backward_data:
        arguments = {
            {DNNL_ARG_DIFF_DST, f.y}, {DNNL_ARG_WEIGHTS, primitive.weights}, {DNNL_ARG_DIFF_SRC, f.x}};
        break;
      default:
        arguments = {
            {DNNL_ARG_DIFF_DST, f.y}, {DNNL_ARG_SRC, f.x}, {DNNL_ARG_DIFF_WEIGHTS, primitive.weights}};
        break;
    }
    arguments.emplace_back(DNNL_ARG_SCRATCHPAD, primitive.scratchpad);
    if (fused_.bias && direction_ != Direction::backward_data)
      arguments.emplace_back(to_weights ? DNNL_ARG_DIFF_BIAS : DNNL_ARG_BIAS, f.bias);
    step_.emplace(primitive.primitive, arguments);

    const TensorDesc& out = desc.outputs[0];
    elements_ = out.elements();
    if (direction_ == Direction::forward && fused_.stats) {
      channels_ = static_cast<int>(out.shape[out.shape.rank() - 1]);
      moments_step_ = Moments::bytes(channels_);
      moments_ = layout.add<std::byte>(moments_step_ * static_cast<std::size_t>(threads));
    }
    bytes_ = layout.bytes();
  }

  std::size_t workspace_bytes() const override { return bytes_; }

  void run(const RunArgs& args) override {
    const ThreadCount count(threads_);
    void* const reordered = at<void>(args.workspace, weights_);
    void* const scratch = at<void>(args.workspace, scratch_);
    void* const reorder_scratch = at<void>(args.workspace, reorder_scratch_);
    if (direction_ == Direction::backward_weights) {
      void* const gradient = reorder_ ? reordered : args.out[0];
      if (fused_.bias)
        step_->run(stream_, {args.in[0], args.in[1], gradient, scratch, args.out[1]});
      else
        step_->run(stream_, {args.in[0], args.in[1], gradient, scratch});
      if (reorder_) reorder_->run(stream_, {reordered, args.out[0], reorder_scratch});
      return;
    }
    if (reorder_) reorder_->run(stream_, {args.in[1], reordered, reorder_scratch});
    void* const weights = reorder_ ? reordered : args.in[1];
    if (direction_ == Direction::forward && fused_.bias)
      step_->run(stream_, {args.in[0], weights, args.out[0], scratch, args.in[2]});
    else
      step_->run(stream_, {args.in[0], weights, args.out[0], scratch});
    if (direction_ == Direction::forward && fused_.stats) measure(args);
    if (direction_ == Direction::backward_data && fused_.mask) mask(args);
  }

 private:
  void measure(const RunArgs& args) const {
    parallel(
        threads_,
        [&](int part) {
          const Range rows = share(elements_ / channels_, part, threads_);
          Moments moments(at<void>(args.workspace, moments_ + moments_step_ * static_cast<std::size_t>(part)),
                          channels_);
          moments.reset();
          moments.add(kernels_, output(args, 0) + rows.begin * channels_, rows.size());
        },
        [&](int part) {
          write_stats(at<void>(args.workspace, moments_), moments_step_, threads_, channels_,
                      share(channels_, part, threads_), output(args, 1));
        });
  }

  void mask(const RunArgs& args) const {
    parallel(threads_, [&](int part) {
      const Range range = share(elements_, 256, part, threads_);
      float* dx = output(args, 0) + range.begin;
      kernels_.relu_backward({dx, input(args, 2) + range.begin, dx, range.size(), false});
    });
  }

  const Kernels& kernels_;
  int threads_;
  Direction direction_;
  Fused fused_;
  dnnl::stream stream_;
  std::optional<Step> reorder_, step_;
  std::int64_t elements_ = 0;
  int channels_ = 0;
  std::size_t weights_ = 0, reorder_scratch_ = 0, scratch_ = 0, moments_ = 0, moments_step_ = 0, bytes_ = 0;
};

/// Asks the library itself whether it has the primitive.
Refusal refuse_primitive(const OpDesc& desc) {
  try {
    if (desc.op.kind == OpKind::conv2d)
      static_cast<void>(build_conv(desc, conv_formats(desc)));
    else
      static_cast<void>(build_dense(desc, dense_formats(desc)));
  } catch (const dnnl::error& error) {
    return fmt::format("oneDNN has no primitive for it ({})", error.what());
  }
  return std::nullopt;
}

}  // namespace

void add_primitive(Registry& registry) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_data, Direction::backward_weights}) {
    add_implementation(registry, "nhwc", {OpKind::conv2d, direction}, refuse_primitive,
                       prepare_as<PrimitiveRun>());
    add_implementation(registry, "inner_product", {OpKind::dense, direction}, refuse_primitive,
                       prepare_as<PrimitiveRun>());
  }
}

}  // namespace quern::onednn
