#include "providers/onednn/isa/table.hpp"

#include "providers/onednn/isa/vec.hpp"

namespace quern::onednn::QUERN_ISA {

#if defined(__AVX512F__)
constexpr int kPanel = 4 * kLanes;
#else
constexpr int kPanel = 2 * kLanes;
#endif

constinit const Kernels kTable = {
    .lanes = kLanes,
    .panel = kPanel,
    .product_rows = product_rows,
    .outer_rows = outer_rows,
    .dot_rows = dot_rows,
    .pack_transposed = pack_transposed,
    .pack_rows = pack_rows,
    .reduce_transposed = reduce_transposed,
    .winograd_2x2 = &kWinograd2x2,
    .winograd_4x4 = &kWinograd4x4,
    .winograd_5x5 = &kWinograd5x5,
    .channel_sums = channel_sums,
    .normalise = normalise,
    .normalise_reduce = normalise_reduce,
    .normalise_backward = normalise_backward,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .normalise_pool_reduce = normalise_pool_reduce,
    .normalise_pool_backward = normalise_pool_backward,
    .average_pool = average_pool,
    .average_pool_backward = average_pool_backward,
    .global_pool = global_pool,
    .global_pool_backward = global_pool_backward,
    .relu = relu,
    .relu_backward = relu_backward,
    .add = add,
    .dropout = dropout,
    .average = average,
    .update_sgd = update_sgd,
    .update_momentum = update_momentum,
    .update_nesterov = update_nesterov,
    .update_adam = update_adam,
    .sum_of_squares = sum_of_squares,
    .softmax_xent = softmax_xent,
};

}  // namespace quern::onednn::QUERN_ISA
