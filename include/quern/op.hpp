#pragma once

/// Operations: what a node of a graph does, independent of who computes it.
///
/// An operation is a kind and a direction with attributes; its operands are two ordered lists of buffers
/// ("slots"). The slot lists below are the contract between the graph, every provider and `quern check`.
/// A slot in [brackets] exists only when the attribute named beside it is set; absent slots are left out of
/// the list, they are not null. A slot marked * is updated in place: the same buffer is the last-named input
/// of that name and the output.
///
/// Letters: N batch; H,W,C input height, width, channels; P,Q,K output height, width, channels;
/// R,S filter height, width; G groups; M images in the dataset. Storage is f32 unless said otherwise.
///
///   input_batch.forward     in  images u8[M,H,W,C], labels u8[M], order u32[L], step u8[64] (StepScalars)
///                           out x[N,H,W,C], y i32[N]
///                           element n takes image i = order[step.order_offset + n]
///   conv2d.forward          in  x[N,H,W,C], w[K,R,S,C/G], [bias[K]: bias]
///                           out y[N,P,Q,K], [stats[2,K]: stats]
///   conv2d.backward_data    in  dy[N,P,Q,K], w[K,R,S,C/G], [x[N,H,W,C]: mask]     out dx[N,H,W,C]
///   conv2d.backward_weights in  dy[N,P,Q,K], x[N,H,W,C]            out dw[K,R,S,C/G], [dbias[K]: bias]
///   conv2d.backward         in  dy[N,P,Q,K], x[N,H,W,C], w[K,R,S,C/G]
///                           out dx[N,H,W,C], dw[K,R,S,C/G], [dbias[K]: bias]       (both of the above in
///                           one)
///   dense.forward           in  x[N,C], w[K,C], [bias[K]: bias]    out y[N,K], [stats[2,K]: stats]
///   dense.backward_data     in  dy[N,K], w[K,C], [x[N,C]: mask]    out dx[N,C]
///   dense.backward_weights  in  dy[N,K], x[N,C]                    out dw[K,C], [dbias[K]: bias]
///   dense.backward          in  dy[N,K], x[N,C], w[K,C]            out dx[N,C], dw[K,C], [dbias[K]: bias]
///   batchnorm.forward       in  x[..,C], gamma[C], beta[C], running_mean[C]*, running_var[C]*,
///                               [stats[2,C]: stats]
///                           out y[..,C] or pooled y[N,P,Q,C], saved[2,C], running_mean[C]*, running_var[C]*,
///                               [argmax u8[N,P,Q,C]: pool]
///   batchnorm.inference     in  x[..,C], gamma[C], beta[C], running_mean[C], running_var[C]
///                           out y[..,C] or pooled y[N,P,Q,C]
///   batchnorm.backward      in  dy, x[..,C], gamma[C], saved[2,C], [y: relu], [argmax u8: pool]
///                           out dx[..,C], dgamma[C], dbeta[C]
///   relu.forward            in  x              out y
///   relu.backward           in  dy, y          out dx      (dx = dy where y > 0, else 0)
///   maxpool2d.forward       in  x[N,H,W,C]     out y[N,P,Q,C], [argmax u8[N,P,Q,C]: save_argmax]
///   maxpool2d.backward      in  dy[N,P,Q,C], argmax u8[N,P,Q,C], [y[N,P,Q,C]: mask]    out dx[N,H,W,C]
///   avgpool2d.forward       in  x[N,H,W,C]     out y[N,P,Q,C]
///   avgpool2d.backward      in  dy[N,P,Q,C], [x[N,H,W,C]: mask]    out dx[N,H,W,C]
///   global_avgpool.forward  in  x[N,H,W,C]     out y[N,C]
///   global_avgpool.backward in  dy[N,C], [x[N,H,W,C]: mask]        out dx[N,H,W,C]
///   dropout.forward         in  x, step        out y
///   dropout.backward        in  dy, step       out dx      (the mask is drawn again, never stored)
///   add.forward             in  a, b           out y       (relu attribute: y = max(a + b, 0))
///   softmax_xent.forward    in  logits[N,C], labels i32[N], [metrics f64[4]*: metrics]
///                           out loss[N], [dlogits[N,C]: gradient], [metrics f64[4]*: metrics]
///   metrics.forward         in  loss[N], logits[N,C], labels i32[N], metrics f64[4]*
///                           out metrics f64[4]*            (Metrics: sums since the last reset)
///   guard.forward           in  loss[N], grads[T], metrics f64[4]*, kept_metrics f64[4]*, guard f64[4]*,
///                               [running[R]*: statistics], [kept_running[R]*: statistics]
///                           out metrics f64[4]*, kept_metrics f64[4]*, guard f64[4]*,
///                               [running[R]*: statistics], [kept_running[R]*: statistics]
///   optimizer.forward       in  step[*: advance], grads[T], params[T]*, [slot1[T]*], [slot2[T]*],
///                               [guard f64[4]: guarded], [steps u8[S,64]: advance]
///                           out params[T]*, [slot1[T]*], [slot2[T]*], [step*: advance]
///                               (slots: see OptimizerAttrs)
///   ema.forward             in  step[*: advance], values[T], average[T]*, [guard f64[4]: guarded],
///                               [steps u8[S,64]: advance]
///                           out average[T]*, [step*: advance]
///
/// Flatten has no operation: it is a view (same bytes, another shape), and so is its gradient. The gradient
/// of `add` is dy for both operands, again without an operation.
///
/// Definitions
///   stats, saved  stats = (mean, biased variance) per channel over all rows; saved = (mean,
///   1/sqrt(var+eps)). batchnorm     y = gamma * (x - mean) / sqrt(var + eps) + beta; running = momentum *
///   running +
///                 (1 - momentum) * batch, with the biased batch variance. Keras 3's definition.
///                 Source of the backward: Ioffe & Szegedy 2015, section 3.
///   fused pooling max-pooling applied after normalisation (and after relu when set). argmax is the index
///                 r * S + s of the first maximum inside the window (padding never wins; a NaN in the window
///                 wins, the first one), so windows have at most 256 elements.
///   relu          max(x, 0), fused or not; a NaN stays NaN, so that it is seen downstream.
///   gather        conv2d.forward, conv2d.backward_weights: x is not stored. Its slot gives way to three,
///   images
///                 u8[M,H,W,C], order u32[L] and step, and x is what input_batch.forward makes of them
///                 without augmentation, in the type of the activations. softmax_xent.forward: labels
///                 likewise gives way to labels u8[M], order u32[L] and step.
///   mask          the gradient written is multiplied by (operand > 0), the operand being the producer's own
///                 forward input (for max-pooling: its output), which is a ReLU's result: the ReLU's
///                 backward, fused. For every `backward` that has x as a slot already, `mask` uses that one.
///                 y: relu masks dy by (y > 0) before anything else (a ReLU after the normalisation); with
///                 pool, y is the pooled y.
///   advance       the last thing the node does, when nobody reads `step` any more, is
///                 step = steps[min(step.index + 1, S - 1)]: the scalars of the next step, from the table of
///                 the epoch. A walk of a training graph therefore needs nothing from the host.
///   guard         judges the step: it is to be skipped when a loss or an element of grads is not finite.
///                 Then metrics and running become what was kept of them, as if the step had not been; else
///                 what is kept becomes what they are. guard is a StepGuard: its `skip` is the verdict.
///   guarded       where guard.skip is not 0, nothing is updated; `advance` takes place all the same.
///   accumulation  outputs are overwritten, never accumulated into.
///   in place      relu.*, dropout.* and add.forward may be given the same buffer as their first operand
///   (add:
///                 either operand) and as their output. No other operands overlap, except slots marked *.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quern/tensor.hpp"

namespace quern {

enum class OpKind : std::uint8_t {
  input_batch,
  conv2d,
  dense,
  batchnorm,
  relu,
  maxpool2d,
  avgpool2d,
  global_avgpool,
  dropout,
  add,
  flatten,
  softmax_xent,
  metrics,
  guard,
  optimizer,
  ema,
};
inline constexpr int kOpKinds = 16;

enum class Direction : std::uint8_t { forward, inference, backward, backward_data, backward_weights };

/// "conv2d", "forward"; the names used in specs, in `--impl conv2d.forward=...` and in reports.
const char* to_string(OpKind kind) noexcept;
const char* to_string(Direction direction) noexcept;

struct OpKey {
  OpKind kind = OpKind::conv2d;
  Direction direction = Direction::forward;
  auto operator<=>(const OpKey&) const = default;
};

std::string to_string(OpKey key);            ///< "conv2d.backward_data"
OpKey parse_op_key(std::string_view text);   ///< throws an input error that lists the known operations
const std::vector<OpKey>& all_operations();  ///< every key that has an implementation table

/// Arithmetic of matrix products. Storage stays f32 except where `bf16` says otherwise.
enum class Precision : std::uint8_t {
  fp32,  ///< full single precision
  tf32,  ///< operands rounded to 10 mantissa bits, fp32 accumulation
  bf16,  ///< activations and operands in bf16, fp32 accumulation, fp32 master weights and statistics
};
const char* to_string(Precision precision) noexcept;

/// Per-step scalars in device memory, read by kernels so that a captured step can be replayed. 64 bytes.
struct StepScalars {
  std::uint64_t seed = 0;          ///< of the run
  std::uint32_t step = 0;          ///< optimizer steps done before this one, over the whole run
  std::uint32_t order_offset = 0;  ///< index into `order` of this batch's first sample
  float learning_rate = 0;
  float bias_correction1 = 1;  ///< 1 - beta1^(step+1)
  float bias_correction2 = 1;  ///< 1 - beta2^(step+1)
  float ema_decay = 0;
  std::uint32_t epoch = 0;
  std::uint32_t index = 0;  ///< of these scalars in the table `steps`
  std::uint32_t reserved[6] = {};
};
static_assert(sizeof(StepScalars) == 64);

/// What `metrics` accumulates, the operation or the attribute; an f64[4] tensor on the device.
struct Metrics {
  double loss_sum = 0;
  double correct = 0;    ///< top-1 hits; the first maximum wins a tie, a NaN among the logits is a miss
  double count = 0;      ///< samples
  double nonfinite = 0;  ///< samples whose loss was NaN or infinite
};
static_assert(sizeof(Metrics) == 32);

/// What `guard` knows of the steps: an f64[4] tensor on the device.
struct StepGuard {
  double skip = 0;     ///< 1 when the last step judged is to be skipped, else 0
  double skipped = 0;  ///< steps skipped so far
  double in_a_row = 0;
  double longest_row = 0;  ///< the largest that in_a_row has been
};
static_assert(sizeof(StepGuard) == 32);

/// A 2-d window: size, stride and padding. Output extent = floor((in + before + after - dilated) / stride)
/// + 1.
struct Window {
  int r = 1, s = 1;
  int stride_h = 1, stride_w = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  bool operator==(const Window&) const = default;
};

/// Nodes along a side of the grid of Augment::elastic.
inline constexpr int kElasticNodes = 4;

/// Random augmentation, drawn per sample and step. All zero: off.
/// Output pixel p = (h, w) samples the source at centre + A^-1 * (p - centre - shift) + d(p), bilinear, zero
/// outside; then a square of the output is erased. The source is the image, or its mirror image, in which
/// column w is the image's column W - 1 - w: where uniform_from_u32(philox_u32(seed, augment, 2, step, n)) <
/// flip. In coordinates (x = w, y = h), centre = ((W-1)/2, (H-1)/2) and A = scale * rotation * shear with
/// rotation = [cos t, -sin t; sin t, cos t] and shear = [1, tan s; 0, 1]; "zero" is a pixel of value 0,
/// before the normalisation. Draw j of sample n is u = uniform_from_u32(philox_u32(seed, augment, 0, step, 8
/// * n + j)) mapped to (2u - 1) * limit; j = 0: shift of y, 1: shift of x, 2: t, 3: scale - 1, 4: s.
/// d, the elastic distortion, is bilinear between the nodes of a grid of K x K = kElasticNodes^2 over the
/// image: pixel (h, w) lies at (h (K-1) / max(1, H-1), w (K-1) / max(1, W-1)) of it, so that the corners are
/// nodes. Node (i, j) is displaced along y by draw k = 2 (K i + j) and along x by draw k + 1 of the stream 1:
/// with u = uniform_from_u32(philox_u32(seed, augment, 1, step, 2 K^2 n + k)), (2u - 1) * elastic. The erased
/// square is of value 0, before the normalisation, in all channels. Its side is s = below(5, erase + 1), its
/// first row below(6, H) - s/2, its first column below(7, W) - s/2, in whole numbers, where below(j, m) = m *
/// (b >> 8) >> 24 of the bits b of draw j in 64 bits: the same on every device. A side of 0 erases nothing;
/// what sticks out of the image is cut off. A crop adds whole pixels to the shift, which blur nothing: along
/// y cut(0) - crop, along x cut(1) - crop, where cut(i) = (2 crop + 1) * (b >> 8) >> 24, in 64 bits, of the
/// bits b = philox_u32(seed, augment, 3, step, 2 n + i).
struct Augment {
  float shift = 0;    ///< largest shift in pixels, uniform in [-shift, shift] for both axes
  float rotate = 0;   ///< largest rotation in degrees
  float scale = 0;    ///< largest relative scaling: factor uniform in [1 - scale, 1 + scale]
  float shear = 0;    ///< largest horizontal shear in degrees
  float elastic = 0;  ///< largest displacement of a node in pixels, for both axes
  int erase = 0;      ///< largest side of the erased square in pixels
  float flip = 0;     ///< probability that left and right are exchanged
  int crop = 0;  ///< largest shift in whole pixels: a random crop out of the image with a margin of zeros
  bool operator==(const Augment&) const = default;
  bool enabled() const noexcept { return *this != Augment{}; }
};

struct InputBatchAttrs {
  float mean = 0, stddev = 1;  ///< x = (pixel / 255 - mean) / stddev
  Augment augment;
  bool operator==(const InputBatchAttrs&) const = default;
};

struct Conv2dAttrs {
  Window window;
  int dilation_h = 1, dilation_w = 1;
  int groups = 1;
  bool bias = false;
  bool relu = false;           ///< forward: y = max(y, 0), before statistics
  bool stats = false;          ///< forward: also write per-channel statistics of y
  bool mask = false;           ///< backward_data and backward: multiply dx by (x > 0)
  bool gather = false;         ///< forward and backward_weights: the images come from the dataset
  float mean = 0, stddev = 1;  ///< gather: x = (pixel / 255 - mean) / stddev
  bool operator==(const Conv2dAttrs&) const = default;
};

struct DenseAttrs {
  bool bias = false;
  bool relu = false;
  bool stats = false;
  bool mask = false;
  bool operator==(const DenseAttrs&) const = default;
};

struct BatchNormAttrs {
  float momentum = 0.99f;
  float epsilon = 1e-3f;
  bool relu = false;   ///< a ReLU after the normalisation, fused
  bool stats = false;  ///< forward: statistics come with the input, from the producer's epilogue
  bool mask = false;   ///< backward: multiply dx by (x > 0), the ReLU before the normalisation
  bool pool = false;   ///< max-pooling after it all, fused; `window` holds
  Window window;
  bool operator==(const BatchNormAttrs&) const = default;
};

struct Pool2dAttrs {
  Window window;
  bool save_argmax = false;  ///< maxpool2d.forward
  bool mask = false;         ///< backward
  bool count_include_pad =
      false;  ///< avgpool2d: divide by the full window or by the elements inside the image
  bool operator==(const Pool2dAttrs&) const = default;
};

struct GlobalPoolAttrs {
  bool mask = false;
  bool operator==(const GlobalPoolAttrs&) const = default;
};

struct DropoutAttrs {
  float probability = 0.5f;  ///< of zeroing an element; survivors are scaled by 1 / (1 - p)
  std::uint32_t stream = 0;  ///< tells dropout nodes apart; element i survives where
                             ///< uniform_from_u32(philox_u32(seed, dropout, stream, step, i)) >= p
  bool operator==(const DropoutAttrs&) const = default;
};

struct AddAttrs {
  bool relu = false;
  bool operator==(const AddAttrs&) const = default;
};

struct SoftmaxXentAttrs {
  float label_smoothing = 0;  ///< target = (1 - s) * onehot + s / C
  bool gradient = false;      ///< also write dlogits = (softmax - target) * gradient_scale
  float gradient_scale = 1;   ///< 1 / N for the mean loss
  bool metrics = false;       ///< also do what metrics.forward does with this loss
  bool gather = false;        ///< the labels come from the dataset
  bool operator==(const SoftmaxXentAttrs&) const = default;
};

enum class OptimizerKind : std::uint8_t { sgd, momentum, nesterov, adam, adamw };
const char* to_string(OptimizerKind kind) noexcept;

/// A contiguous range of the flat parameter vector that shares settings: one parameter tensor.
struct ParamSegment {
  std::int64_t offset = 0, elements = 0;  ///< in elements; gaps between segments are alignment padding (zero)
  bool decay = true;                      ///< weight decay applies (weights yes; biases, gamma and beta no)
  bool operator==(const ParamSegment&) const = default;
};

/// g' = g * min(1, clip_norm / ||g||) when clip_norm > 0, the norm taken over all parameters.
///   sgd       p -= lr * (g' + wd * p)
///   momentum  v = mu * v + (g' + wd * p);  p -= lr * v                            slot1 = v
///   nesterov  v as above;                  p -= lr * (g' + wd * p + mu * v)       slot1 = v
///   adam      g'' = g' + wd * p; m = b1 * m + (1 - b1) * g''; v = b2 * v + (1 - b2) * g''^2;
///             p -= lr * sqrt(bias_correction2) / bias_correction1 * m / (sqrt(v) + eps)
///             (Kingma & Ba 2015, the efficient form at the end of section 2; Keras' epsilon)
///   adamw     as adam without wd in g'', after p -= lr * wd * p  (Loshchilov & Hutter 2019)
struct OptimizerAttrs {
  OptimizerKind kind = OptimizerKind::adam;
  float momentum = 0.9f;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-7f;
  float weight_decay = 0;
  float clip_norm = 0;
  std::vector<ParamSegment> segments;
  bool guarded = false;  ///< updates nothing in a step that `guard` skips
  bool advance = false;  ///< moves `step` on to the next of `steps`: the last node of a training graph
  int slots() const noexcept {
    return kind == OptimizerKind::sgd                                    ? 0
           : kind == OptimizerKind::adam || kind == OptimizerKind::adamw ? 2
                                                                         : 1;
  }
  bool operator==(const OptimizerAttrs&) const = default;
};

/// average = d * average + (1 - d) * values with d = step.ema_decay.
struct EmaAttrs {
  bool advance = false;  ///< both as in OptimizerAttrs
  bool guarded = false;
  bool operator==(const EmaAttrs&) const = default;
};

struct GuardAttrs {
  bool statistics = false;  ///< the model has running statistics
  bool operator==(const GuardAttrs&) const = default;
};

struct NoAttrs {  ///< relu, flatten, metrics
  bool operator==(const NoAttrs&) const = default;
};

using Attrs = std::variant<NoAttrs, InputBatchAttrs, Conv2dAttrs, DenseAttrs, BatchNormAttrs, Pool2dAttrs,
                           GlobalPoolAttrs, DropoutAttrs, AddAttrs, SoftmaxXentAttrs, GuardAttrs,
                           OptimizerAttrs, EmaAttrs>;

/// Everything an implementation is chosen by: the operation, its attributes and the types of its operands.
struct OpDesc {
  OpKey op;
  Attrs attrs;
  std::vector<TensorDesc> inputs, outputs;
  Precision precision = Precision::fp32;

  template <class T>
  const T& as() const {
    return std::get<T>(attrs);
  }
  bool operator==(const OpDesc&) const = default;
};

/// Output extents of a window over an input; throws an input error when the window does not fit.
std::int64_t window_output(std::int64_t in, int kernel, int stride, int dilation, int pad_before,
                           int pad_after);

/// Whether attributes ask for what only merged nodes do (GraphOptions::few_launches): `gather`, or the
/// `metrics` of a loss.
bool is_merged(const OpDesc& desc);

/// One line for people: "conv2d.forward x=f32[64x28x28x1] w=... 3x3 stride 1 pad 1 bias relu".
std::string describe(const OpDesc& desc);

/// Throws an input error unless the operand lists of `desc` are what the contract above says.
/// Providers may rely on it: the plan and `quern check` call it before any implementation is asked.
void validate(const OpDesc& desc);

/// Floor of the operation: the fewest bytes it must move (each operand once) and its floating-point
/// operations (2 per multiply-add; comparisons and special functions count 1).
struct OpCost {
  double flops = 0;
  double bytes = 0;
};
OpCost cost(const OpDesc& desc);

}  // namespace quern
