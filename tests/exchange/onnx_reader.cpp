#include "tests/exchange/onnx_reader.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace quern::test {
namespace {

struct Field {
  int number = 0;
  std::uint64_t integer = 0;
  std::string_view bytes;
};

std::uint64_t varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) throw std::runtime_error("cut short");
    const auto byte = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw std::runtime_error("endless varint");
}

std::vector<Field> fields(std::string_view bytes) {
  std::vector<Field> result;
  while (!bytes.empty()) {
    const std::uint64_t key = varint(bytes);
    Field field{static_cast<int>(key >> 3)};
    std::size_t length = 0;
    switch (key & 7) {
      case 0:
        field.integer = varint(bytes);
        break;
      case 1:
        length = 8;
        break;
      case 2:
        length = varint(bytes);
        break;
      case 5:
        length = 4;
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
    if (length > bytes.size()) throw std::runtime_error("a field beyond its message");
    field.bytes = bytes.substr(0, length);
    bytes.remove_prefix(length);
    result.push_back(field);
  }
  return result;
}

[[noreturn]] void unknown(const char* message, const Field& field) {
  throw std::runtime_error(std::string(message) + ": unknown field " + std::to_string(field.number));
}

OnnxNode read_node(std::string_view bytes) {
  OnnxNode node;
  for (const Field& field : fields(bytes)) {
    if (field.number == 1) {
      node.inputs.emplace_back(field.bytes);
    } else if (field.number == 2) {
      node.outputs.emplace_back(field.bytes);
    } else if (field.number == 3) {
      node.name = field.bytes;
    } else if (field.number == 4) {
      node.type = field.bytes;
    } else if (field.number == 5) {
      std::string name;
      std::vector<std::int64_t> integers;
      float number = 0;
      std::uint64_t type = 0;
      for (const Field& part : fields(field.bytes)) {
        if (part.number == 1) name = part.bytes;
        if (part.number == 2) std::memcpy(&number, part.bytes.data(), 4);
        if (part.number == 3 || part.number == 8) integers.push_back(static_cast<std::int64_t>(part.integer));
        if (part.number == 20) type = part.integer;
      }
      if (type == 1) node.floats[name] = number;
      if (type == 2 || type == 7) node.integers[name] = integers;
    } else {
      unknown("node", field);
    }
  }
  return node;
}

std::pair<std::string, OnnxTensor> read_tensor(std::string_view bytes) {
  std::string name;
  OnnxTensor tensor;
  std::vector<float> values;
  for (const Field& field : fields(bytes)) {
    if (field.number == 1) {
      for (std::string_view packed = field.bytes; !packed.empty();)
        tensor.shape.push_back(static_cast<std::int64_t>(varint(packed)));
    } else if (field.number == 2) {
      if (field.integer != 1) throw std::runtime_error("a tensor that is not float");
    } else if (field.number == 8) {
      name = field.bytes;
    } else if (field.number == 9) {
      values.resize(field.bytes.size() / 4);
      std::memcpy(values.data(), field.bytes.data(), values.size() * 4);
    } else {
      unknown("tensor", field);
    }
  }
  std::int64_t elements = 1;
  for (const std::int64_t extent : tensor.shape) elements *= extent;
  if (elements != static_cast<std::int64_t>(values.size())) throw std::runtime_error(name + ": wrong size");
  tensor.values.assign(values.begin(), values.end());
  return {name, tensor};
}

std::string read_value_info(std::string_view bytes, std::vector<std::int64_t>& shape) {
  std::string name;
  shape.clear();
  for (const Field& field : fields(bytes)) {
    if (field.number == 1) name = field.bytes;
    if (field.number != 2) continue;
    for (const Field& tensor : fields(fields(field.bytes).at(0).bytes))
      if (tensor.number == 2)
        for (const Field& dimension : fields(tensor.bytes))
          for (const Field& extent : fields(dimension.bytes))
            if (extent.number == 1) shape.push_back(static_cast<std::int64_t>(extent.integer));
  }
  return name;
}

std::size_t at(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

struct WindowArguments {
  std::int64_t r, s, stride_h, stride_w, top, left, bottom, right, dilation_h = 1, dilation_w = 1;
  explicit WindowArguments(const OnnxNode& node) {
    const auto& kernel = node.integers.at("kernel_shape");
    const auto& strides = node.integers.at("strides");
    const auto& pads = node.integers.at("pads");
    r = kernel[0], s = kernel[1], stride_h = strides[0], stride_w = strides[1];
    top = pads[0], left = pads[1], bottom = pads[2], right = pads[3];
    if (const auto found = node.integers.find("dilations"); found != node.integers.end())
      dilation_h = found->second[0], dilation_w = found->second[1];
  }
  std::int64_t rows(std::int64_t h) const {
    return (h + top + bottom - (r - 1) * dilation_h - 1) / stride_h + 1;
  }
  std::int64_t columns(std::int64_t w) const {
    return (w + left + right - (s - 1) * dilation_w - 1) / stride_w + 1;
  }
};

/// Calls visit(value, i, j) for the elements of the window at (p, q) that lie inside the image.
template <class Visit>
void visit_window(const WindowArguments& window, const OnnxTensor& x, std::int64_t n, std::int64_t c,
                  std::int64_t p, std::int64_t q, Visit visit) {
  for (std::int64_t i = 0; i < window.r; ++i)
    for (std::int64_t j = 0; j < window.s; ++j) {
      const std::int64_t h = p * window.stride_h - window.top + i * window.dilation_h,
                         w = q * window.stride_w - window.left + j * window.dilation_w;
      if (h < 0 || w < 0 || h >= x.shape[2] || w >= x.shape[3]) continue;
      visit(x.values[at(((n * x.shape[1] + c) * x.shape[2] + h) * x.shape[3] + w)], i, j);
    }
}

OnnxTensor conv(const OnnxNode& node, const OnnxTensor& x, const OnnxTensor& w, const OnnxTensor* bias) {
  const WindowArguments window(node);
  const std::int64_t groups = node.integers.at("group")[0], filters = w.shape[0], depth = w.shape[1];
  OnnxTensor y{{x.shape[0], filters, window.rows(x.shape[2]), window.columns(x.shape[3])}, {}};
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t k = 0; k < filters; ++k)
      for (std::int64_t p = 0; p < y.shape[2]; ++p)
        for (std::int64_t q = 0; q < y.shape[3]; ++q) {
          double sum = bias != nullptr ? bias->values[at(k)] : 0;
          for (std::int64_t c = 0; c < depth; ++c)
            visit_window(window, x, n, k / (filters / groups) * depth + c, p, q,
                         [&](double value, std::int64_t i, std::int64_t j) {
                           sum += value * w.values[at(((k * depth + c) * window.r + i) * window.s + j)];
                         });
          y.values.push_back(sum);
        }
  return y;
}

OnnxTensor pool(const OnnxNode& node, const OnnxTensor& x) {
  const WindowArguments window(node);
  const bool largest = node.type == "MaxPool";
  const bool whole = !largest && node.integers.at("count_include_pad")[0] != 0;
  OnnxTensor y{{x.shape[0], x.shape[1], window.rows(x.shape[2]), window.columns(x.shape[3])}, {}};
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t c = 0; c < y.shape[1]; ++c)
      for (std::int64_t p = 0; p < y.shape[2]; ++p)
        for (std::int64_t q = 0; q < y.shape[3]; ++q) {
          double sum = 0, most = -std::numeric_limits<double>::infinity();
          int count = 0;
          visit_window(window, x, n, c, p, q, [&](double value, std::int64_t, std::int64_t) {
            sum += value;
            most = std::max(most, value);
            ++count;
          });
          y.values.push_back(largest ? most
                                     : sum / (whole ? static_cast<double>(window.r * window.s) : count));
        }
  return y;
}

OnnxTensor gemm(const OnnxTensor& a, const OnnxTensor& b, const OnnxTensor* bias) {
  OnnxTensor y{{a.shape[0], b.shape[0]}, {}};
  for (std::int64_t n = 0; n < a.shape[0]; ++n)
    for (std::int64_t k = 0; k < b.shape[0]; ++k) {
      double sum = bias != nullptr ? bias->values[at(k)] : 0;
      for (std::int64_t c = 0; c < b.shape[1]; ++c)
        sum += a.values[at(n * a.shape[1] + c)] * b.values[at(k * b.shape[1] + c)];
      y.values.push_back(sum);
    }
  return y;
}

std::int64_t inner(const OnnxTensor& x) {
  std::int64_t product = 1;
  for (std::size_t axis = 2; axis < x.shape.size(); ++axis) product *= x.shape[axis];
  return product;
}

OnnxTensor evaluate(const OnnxNode& node, const std::vector<const OnnxTensor*>& in) {
  OnnxTensor y = *in.at(0);
  const auto third = in.size() > 2 ? in[2] : nullptr;
  const std::int64_t area = inner(y);
  if (node.type == "Conv") return conv(node, y, *in.at(1), third);
  if (node.type == "Gemm") return gemm(y, *in.at(1), third);
  if (node.type == "MaxPool" || node.type == "AveragePool") return pool(node, y);
  if (node.type == "Relu") {
    for (double& value : y.values) value = std::max(value, 0.0);
  } else if (node.type == "Add") {
    for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += in.at(1)->values.at(i);
  } else if (node.type == "Sub") {
    for (double& value : y.values) value -= in.at(1)->values.at(0);
  } else if (node.type == "Div") {
    for (double& value : y.values) value /= in.at(1)->values.at(0);
  } else if (node.type == "Flatten") {
    y.shape = {y.shape[0], static_cast<std::int64_t>(y.values.size()) / y.shape[0]};
  } else if (node.type == "BatchNormalization") {
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      const std::size_t c = i / at(area) % at(y.shape[1]);
      y.values[i] = in.at(1)->values[c] * (y.values[i] - in.at(3)->values[c]) /
                        std::sqrt(in.at(4)->values[c] + static_cast<double>(node.floats.at("epsilon"))) +
                    in.at(2)->values[c];
    }
  } else if (node.type == "GlobalAveragePool") {
    OnnxTensor mean{{y.shape[0], y.shape[1], 1, 1}, std::vector<double>(at(y.shape[0] * y.shape[1]))};
    for (std::size_t i = 0; i < y.values.size(); ++i)
      mean.values[i / at(area)] += y.values[i] / static_cast<double>(area);
    return mean;
  } else if (node.type == "Transpose") {
    if (node.integers.at("perm") != std::vector<std::int64_t>{0, 2, 3, 1})
      throw std::runtime_error("another permutation");
    const auto s = y.shape;
    y.shape = {s[0], s[2], s[3], s[1]};
    for (std::int64_t n = 0, i = 0; n < s[0]; ++n)
      for (std::int64_t p = 0; p < area; ++p)
        for (std::int64_t c = 0; c < s[1]; ++c)
          y.values[at(i++)] = in[0]->values[at((n * s[1] + c) * area + p)];
  } else {
    throw std::runtime_error("unknown operator " + node.type);
  }
  return y;
}

}  // namespace

std::vector<std::string> OnnxModel::types() const {
  std::vector<std::string> result;
  for (const OnnxNode& node : nodes) result.push_back(node.type);
  return result;
}

OnnxModel read_onnx(std::string_view bytes) {
  OnnxModel model;
  std::vector<std::int64_t> ignored;
  for (const Field& field : fields(bytes)) {
    if (field.number == 1) model.ir_version = static_cast<std::int64_t>(field.integer);
    if (field.number == 6) model.doc = field.bytes;
    if (field.number == 8) model.opset = static_cast<std::int64_t>(fields(field.bytes).at(0).integer);
    if (field.number == 14)
      model.metadata[std::string(fields(field.bytes).at(0).bytes)] = fields(field.bytes).at(1).bytes;
    if (field.number != 7) continue;
    for (const Field& part : fields(field.bytes)) {
      if (part.number == 1) model.nodes.push_back(read_node(part.bytes));
      if (part.number == 5) model.initializers.insert(read_tensor(part.bytes));
      if (part.number == 11) model.input = read_value_info(part.bytes, model.input_shape);
      if (part.number == 12) model.output = read_value_info(part.bytes, ignored);
    }
  }
  return model;
}

OnnxTensor run_onnx(const OnnxModel& model, const OnnxTensor& input) {
  std::map<std::string, OnnxTensor> values = model.initializers;
  values[model.input] = input;
  for (const OnnxNode& node : model.nodes) {
    std::vector<const OnnxTensor*> in;
    for (const std::string& name : node.inputs) in.push_back(&values.at(name));
    if (!values.emplace(node.outputs.at(0), evaluate(node, in)).second)
      throw std::runtime_error(node.outputs[0] + " is written twice");
  }
  return values.at(model.output);
}

}  // namespace quern::test
