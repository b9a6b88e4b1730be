#pragma once

/// The kernels that the files of this folder define, for the table that joins them.

#include "providers/onednn/kernels.hpp"

namespace quern::onednn::QUERN_ISA {

void product_rows(const ProductRows& a);
void outer_rows(const OuterRows& args);
void dot_rows(const DotRows& a);
void pack_transposed(const PackTransposed& a);
void pack_rows(const PackRows& a);
void reduce_transposed(const ReduceTransposed& a);
void channel_sums(const ChannelSums& a);
void normalise(const Normalise& a);
void normalise_reduce(const NormaliseReduce& a);
void normalise_backward(const NormaliseBackward& a);
void max_pool(const MaxPool& a);
void max_pool_backward(const MaxPoolBackward& a);
void normalise_pool_reduce(const NormalisePoolReduce& a);
void normalise_pool_backward(const NormalisePoolBackward& a);
void average_pool(const AveragePool& a);
void average_pool_backward(const AveragePoolBackward& a);
void global_pool(const GlobalPool& a);
void global_pool_backward(const GlobalPool& a);
void relu(const Elementwise& a);
void relu_backward(const Elementwise& a);
void add(const Elementwise& a);
void dropout(const Dropout& a);
void average(const Average& a);
void update_sgd(const Update& a);
void update_momentum(const Update& a);
void update_nesterov(const Update& a);
void update_adam(const Update& a);
double sum_of_squares(const float* x, std::int64_t n);
void softmax_xent(const SoftmaxXent& a);

extern const WinogradTransforms kWinograd2x2, kWinograd4x4, kWinograd5x5;

extern const Kernels kTable;

}  // namespace quern::onednn::QUERN_ISA
