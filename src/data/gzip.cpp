#include "data/gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "quern/error.hpp"

namespace quern {

struct GzipReader::State {
  z_stream stream{};
};

bool is_gzip(std::span<const std::byte> content) noexcept {
  return content.size() >= 2 && content[0] == std::byte{0x1F} && content[1] == std::byte{0x8B};
}

GzipReader::GzipReader(std::span<const std::byte> content, std::string file)
    : state_(std::make_unique<State>()), rest_(content), file_(std::move(file)) {
  constexpr int kGzipOnly = 15 + 16;  // the largest window, and a gzip header
  if (inflateInit2(&state_->stream, kGzipOnly) != Z_OK) fail_device("out of memory for reading {}", file_);
}

GzipReader::~GzipReader() {
  inflateEnd(&state_->stream);
}

std::size_t GzipReader::read(std::span<std::uint8_t> into) {
  constexpr std::size_t kMost = std::numeric_limits<uInt>::max();  // zlib counts in 32 bits
  z_stream& stream = state_->stream;
  std::size_t done = 0;
  while (done < into.size() && !ended_) {
    const std::size_t given = std::min(rest_.size(), kMost);
    const std::size_t wanted = std::min(into.size() - done, kMost);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(rest_.data()));
    stream.avail_in = static_cast<uInt>(given);
    stream.next_out = into.data() + done;
    stream.avail_out = static_cast<uInt>(wanted);
    const int result = inflate(&stream, Z_NO_FLUSH);
    const std::size_t used = given - stream.avail_in;
    const std::size_t produced = wanted - stream.avail_out;
    rest_ = rest_.subspan(used);
    done += produced;
    switch (result) {
      case Z_STREAM_END:
        // A gzip file may be several in a row; anything else after the end does not belong there.
        if (rest_.empty()) {
          ended_ = true;
        } else if (!is_gzip(rest_)) {
          fail_input("{}: {} bytes follow the end of the gzip data; download it again", file_, rest_.size());
        } else {
          inflateReset(&stream);
        }
        break;
      case Z_OK:
      case Z_BUF_ERROR:
        if (used == 0 && produced == 0)
          fail_input("{}: the gzip data are cut short; download it again", file_);
        break;
      case Z_MEM_ERROR:
        fail_device("out of memory for reading {}", file_);
      default:
        fail_input("{}: the gzip data are damaged ({}); download it again", file_,
                   stream.msg != nullptr ? stream.msg : "invalid data");
    }
  }
  return done;
}

}  // namespace quern
