#include "simt/race_detector.hpp"

#include <link.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "simt/bits.hpp"
#include "simt/symbolize.hpp"

namespace quern::simt {

constinit thread_local RaceDetector* active_detector = nullptr;

namespace {

constexpr std::size_t kMaxFindings = 32;
constexpr std::uint32_t kSitePlace = 0x80000000u;  // a place that is an index into sites_
constexpr std::uint32_t kNowhere = 0xffffffffu;

/// Code addresses are kept as 31-bit distances from here: programs and their libraries are smaller than 2
/// GiB.
std::uintptr_t code_origin() {
  return reinterpret_cast<std::uintptr_t>(&code_origin) - 0x40000000u;
}

struct Segment {
  std::uintptr_t low, high;
};

/// The loaded parts of the program and its libraries: constants, and variables of the host.
const std::vector<Segment>& program_segments() {
  static const std::vector<Segment> segments = [] {
    std::vector<Segment> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* list) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& header = info->dlpi_phdr[i];
            if (header.p_type != PT_LOAD) continue;
            const std::uintptr_t low = info->dlpi_addr + header.p_vaddr;
            static_cast<std::vector<Segment>*>(list)->push_back({low, low + header.p_memsz});
          }
          return 0;
        },
        &found);
    return found;
  }();
  return segments;
}

bool in_program(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return std::any_of(program_segments().begin(), program_segments().end(),
                     [at](const Segment& segment) { return at >= segment.low && at < segment.high; });
}

bool is_builtin(const void* address) {
  const auto within = [address](const auto& variable) {
    return static_cast<std::size_t>(static_cast<const char*>(address) -
                                    reinterpret_cast<const char*>(&variable)) < sizeof variable;
  };
  return within(threadIdx) || within(blockIdx) || within(blockDim) || within(gridDim);
}

const char* verb(Observer::Access access) {
  switch (access) {
    case Observer::Access::read:
      return "reads";
    case Observer::Access::write:
      return "writes";
    case Observer::Access::atomic:
      return "atomically updates";
    case Observer::Access::async_begin:
    case Observer::Access::async_arrive:
      break;
  }
  return "copies (cp.async) into";
}

const char* verb(Stamp::Kind kind, bool writes) {
  if (!writes) return "reads";
  return kind == Stamp::Kind::atomic  ? "atomically updates"
         : kind == Stamp::Kind::async ? "copies (cp.async)"
                                      : "writes";
}

}  // namespace

void RaceDetector::launch_begins(const GridLaunch& launch) {
  launch_ = &launch;
  ++launch_tag_;
  order_.launch_begins();
  device_split_.clear();
  sites_.clear();
  findings_.clear();
  seen_.clear();
  regions_.clear();
  last_region_ = 0;
  for (MemoryRange* const range : device_memory_ranges()) {
    if (!range->shadow) range->shadow = ShadowRange(range->bytes);
    regions_.push_back({range->base, range->bytes, &range->shadow, launch_tag_, &device_split_, range});
  }
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* low = nullptr;
    std::size_t size = 0;
    pthread_attr_getstack(&attributes, &low, &size);
    stack_low_ = reinterpret_cast<std::uintptr_t>(low);
    stack_high_ = stack_low_ + size;
    pthread_attr_destroy(&attributes);
  }
}

void RaceDetector::block_begins(const SharedArena& arena, std::uint64_t block) {
  order_.block_begins(static_cast<std::uint32_t>(block));
  shared_split_.clear();
  if (shared_shadow_bytes_ < arena.capacity()) {
    shared_shadow_ = ShadowRange(arena.capacity());
    shared_shadow_bytes_ = arena.capacity();
  }
  shared_initialised_.assign((arena.capacity() + 7) / 8, 0);
  ++block_tag_;
  shared_ = {const_cast<std::byte*>(arena.base()),
             arena.capacity(),
             &shared_shadow_,
             block_tag_,
             &shared_split_,
             nullptr};
  active_detector = this;
}

void RaceDetector::block_ends() {
  active_detector = nullptr;
}

void RaceDetector::fence() {
  order_.fence(Block::current()->current_thread());
}

void RaceDetector::access(const void* address, std::size_t bytes, Access access, Site site) {
  check(address, bytes, access, place_of(site));
}

void RaceDetector::instrumented_access(const void* address, std::size_t bytes, bool write, const void* pc) {
  check(address, bytes, write ? Access::write : Access::read,
        static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(pc) - code_origin()) & ~kSitePlace);
}

std::uint32_t RaceDetector::place_of(Site site) {
  for (std::size_t i = 0; i < sites_.size(); ++i)
    if (sites_[i].line() == site.line() && sites_[i].file_name() == site.file_name())
      return kSitePlace | static_cast<std::uint32_t>(i);
  sites_.push_back(site);
  return kSitePlace | static_cast<std::uint32_t>(sites_.size() - 1);
}

RaceDetector::Region* RaceDetector::find_region(const void* address, std::size_t bytes) {
  const auto holds = [&](const Region& region) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - region.base) < region.bytes;
  };
  if (holds(shared_)) {
    const SharedArena::Array& array = Block::current()->arena().nearest(address);
    const auto offset = static_cast<const std::byte*>(address) - array.base;
    return offset >= 0 && static_cast<std::size_t>(offset) + bytes <= array.bytes ? &shared_ : nullptr;
  }
  if (last_region_ >= regions_.size() || !holds(regions_[last_region_])) {
    const auto after = std::upper_bound(
        regions_.begin(), regions_.end(), address,
        [](const void* at, const Region& region) { return static_cast<const std::byte*>(at) < region.base; });
    if (after == regions_.begin() || !holds(*(after - 1))) return nullptr;
    last_region_ = static_cast<std::size_t>(after - regions_.begin()) - 1;
  }
  Region& region = regions_[last_region_];
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) - region.base);
  return offset + bytes <= region.bytes ? &region : nullptr;
}

void RaceDetector::check(const void* address, std::size_t bytes, Access access, std::uint32_t place) {
  Block& block = *Block::current();
  if (block.on_current_stack(address)) return;
  Region* const region = find_region(address, bytes);
  if (region == nullptr) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    const bool constant =
        is_builtin(address) || in_program(address) || (at >= stack_low_ && at < stack_high_);
    if (access != Access::read || !constant) overrun(address, bytes, access, place);
    return;
  }
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) - region->base);
  if (region->memory != nullptr && !block.joined())
    add(FaultKind::race, place, kNowhere,
        fmt::format("{} {} before join_stream(), while the kernel before this one may still use it",
                    verb(access), describe(*region, address)));
  if (access == Access::read || access == Access::atomic) check_initialised(*region, offset, bytes, place);
  if (access == Access::atomic && region->memory != nullptr) order_.atomic(block.current_thread(), address);

  const Stamp::Kind kind = access == Access::atomic        ? Stamp::Kind::atomic
                           : access == Access::async_begin ? Stamp::Kind::async
                                                           : Stamp::Kind::plain;
  const Stamp now = order_.stamp(block.current_thread(), place, kind);
  const auto first = reinterpret_cast<std::uintptr_t>(address), end = first + bytes;
  const std::uintptr_t granule0 = reinterpret_cast<std::uintptr_t>(region->base) / 4;
  for (std::uintptr_t granule = first / 4; granule * 4 < end; ++granule) {
    Cell& whole = region->shadow->cell(granule - granule0);
    if (whole.tag != region->tag) {
      whole = Cell{};
      whole.tag = region->tag;
    }
    if (whole.split == 0 && granule * 4 >= first && granule * 4 + 4 <= end) {
      check_cell(*region, whole, access, now, reinterpret_cast<const void*>(granule * 4));
      continue;
    }
    std::array<Cell, 4>& parts = region->split->of(whole);
    for (std::uintptr_t byte = 0; byte < 4; ++byte)
      if (granule * 4 + byte >= first && granule * 4 + byte < end)
        check_cell(*region, parts[byte], access, now, reinterpret_cast<const void*>(granule * 4 + byte));
  }

  if (access != Access::read) {
    const bool known = access != Access::async_begin;
    if (region->memory != nullptr)
      region->memory->set_initialised(offset, bytes, known);
    else
      set_bits(shared_initialised_, offset, bytes, known);
  }
}

void RaceDetector::check_cell(Region& region, Cell& cell, Access access, const Stamp& now,
                              const void* address) {
  const bool both_atomic = access == Access::atomic && cell.write.kind == Stamp::Kind::atomic;
  if (!both_atomic && !order_.ordered(cell.write, now.thread))
    report_race(region, cell.write, true, access, now, address);
  if (access == Access::read) {
    note_reader(cell, now);
    return;
  }
  for (Stamp& reader : cell.reads) {
    if (!order_.ordered(reader, now.thread)) report_race(region, reader, false, access, now, address);
    reader.kind = Stamp::Kind::none;
  }
  cell.write = now;
}

void RaceDetector::note_reader(Cell& cell, const Stamp& now) {
  // A reader that is ordered before this one can be forgotten: who is ordered after this one is after both.
  Stamp(&reads)[2] = cell.reads;
  for (Stamp& reader : reads) {
    if (order_.ordered(reader, now.thread)) {
      reader = now;
      Stamp& other = &reader == &reads[0] ? reads[1] : reads[0];
      if (order_.ordered(other, now.thread)) other.kind = Stamp::Kind::none;
      return;
    }
  }
  // Of three unordered readers keep two that differ most: by block, else by warp.
  const bool same_block = reads[0].block == reads[1].block;
  const bool same_warp = same_block && reads[0].thread / kWarpSize == reads[1].thread / kWarpSize;
  if ((same_block && now.block != reads[0].block) ||
      (same_warp && now.thread / kWarpSize != reads[0].thread / kWarpSize))
    reads[1] = now;
}

void RaceDetector::check_initialised(Region& region, std::size_t offset, std::size_t bytes,
                                     std::uint32_t place) {
  const bool known = region.memory != nullptr ? region.memory->is_initialised(offset, bytes)
                                              : all_bits(shared_initialised_, offset, bytes);
  if (known) return;
  const std::byte* const address = region.base + offset;
  const Cell& cell = region.shadow->cell(reinterpret_cast<std::uintptr_t>(address) / 4 -
                                         reinterpret_cast<std::uintptr_t>(region.base) / 4);
  const bool pending = cell.tag == region.tag && cell.split == 0 && cell.write.kind == Stamp::Kind::async;
  std::string message = fmt::format("reads {} bytes of {}, ", bytes, describe(region, address));
  message +=
      pending ? "which a cp.async at {other} fills: it has not been waited for" : "which nothing has written";
  add(FaultKind::uninitialised, place, pending ? cell.write.place : kNowhere, std::move(message));
  // Once is enough.
  if (region.memory != nullptr)
    region.memory->set_initialised(offset, bytes, true);
  else
    set_bits(shared_initialised_, offset, bytes, true);
}

std::string RaceDetector::describe(const Region& region, const void* address) const {
  const auto* const at = static_cast<const std::byte*>(address);
  if (region.memory != nullptr)
    return fmt::format("a device allocation of {} bytes at byte {}", region.bytes, at - region.base);
  const SharedArena::Array& array = Block::current()->arena().nearest(address);
  return fmt::format("'{}' in shared memory at byte {}", array.name, at - array.base);
}

uint3 RaceDetector::block_position(std::uint32_t linear) const {
  const dim3 grid = launch_->grid;
  return uint3{linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
}

void RaceDetector::report_race(const Region& region, const Stamp& earlier, bool earlier_writes, Access access,
                               const Stamp& now, const void* address) {
  const dim3 shape = launch_->block;
  const uint3 other{earlier.thread % shape.x, earlier.thread / shape.x % shape.y,
                    earlier.thread / shape.x / shape.y};
  std::string who = fmt::format("thread ({},{},{})", other.x, other.y, other.z);
  std::string missing = earlier.thread / kWarpSize == now.thread / kWarpSize
                            ? "without a __syncwarp or __syncthreads between"
                            : "without a barrier between";
  if (earlier.block != now.block) {
    const uint3 position = block_position(earlier.block);
    who = fmt::format("{} of block ({},{},{})", who, position.x, position.y, position.z);
    missing = "with nothing that orders the two blocks";
  }
  add(FaultKind::race, now.place, earlier.place,
      fmt::format("{} {}, which {} {} at {{other}} {}", verb(access), describe(region, address), who,
                  verb(earlier.kind, earlier_writes), missing));
}

void RaceDetector::overrun(const void* address, std::size_t bytes, Access access, std::uint32_t place) {
  Block& block = *Block::current();
  std::string what = fmt::format("{} {} bytes ", verb(access), bytes);
  FaultKind kind = FaultKind::global_overrun;
  if (block.arena().contains(address)) {
    const SharedArena::Array& array = block.arena().nearest(address);
    kind = FaultKind::shared_overrun;
    what += fmt::format("at byte {} of '{}' in shared memory, which has {}",
                        static_cast<const std::byte*>(address) - array.base, array.name, array.bytes);
  } else {
    // The nearest allocation is most likely the one that was meant.
    const Region* best = nullptr;
    std::size_t best_distance = std::size_t{1} << 20;
    for (const Region& region : regions_) {
      const auto* const at = static_cast<const std::byte*>(address);
      const std::size_t distance = at < region.base ? static_cast<std::size_t>(region.base - at)
                                   : at >= region.base + region.bytes
                                       ? static_cast<std::size_t>(at - region.base) - region.bytes
                                       : 0;
      if (distance < best_distance) {
        best = &region;
        best_distance = distance;
      }
    }
    what += best == nullptr ? std::string("outside of any device allocation")
                            : fmt::format("at byte {} of a device allocation of {}",
                                          static_cast<const std::byte*>(address) - best->base, best->bytes);
  }
  add(kind, place, kNowhere, std::move(what));
  block.abandon();
}

void RaceDetector::add(FaultKind kind, std::uint32_t place, std::uint32_t other_place, std::string message) {
  if (findings_.size() >= kMaxFindings || !seen_.emplace(kind, place, other_place).second) return;
  const Block& block = *Block::current();
  findings_.push_back({kind, block.index(), block.thread_index(block.current_thread()), place, other_place,
                       std::move(message)});
}

/// A read that is too early finds the memory unwritten, or not, as the schedule has it: the race is the
/// finding.
void RaceDetector::drop_consequences_of_races() {
  std::set<std::uint32_t> racing;
  for (const Finding& finding : findings_)
    if (finding.kind == FaultKind::race) racing.insert({finding.place, finding.other_place});
  std::erase_if(findings_, [&](const Finding& finding) {
    return finding.kind == FaultKind::uninitialised && finding.other_place == kNowhere &&
           racing.contains(finding.place);
  });
}

std::vector<Fault> RaceDetector::launch_ends() {
  drop_consequences_of_races();
  const auto address_of = [](std::uint32_t place) { return code_origin() + place - 1; };
  std::vector<std::uintptr_t> addresses;
  for (const Finding& finding : findings_)
    for (const std::uint32_t place : {finding.place, finding.other_place})
      if ((place & kSitePlace) == 0) addresses.push_back(address_of(place));
  const auto lines = addresses.empty() ? std::map<std::uintptr_t, SourceLine>{} : source_lines(addresses);
  const auto line_of = [&](std::uint32_t place) -> SourceLine {
    if (place == kNowhere) return {};
    if ((place & kSitePlace) != 0) {
      const Site& site = sites_[place & ~kSitePlace];
      return {site.file_name(), static_cast<int>(site.line())};
    }
    const auto found = lines.find(address_of(place));
    return found == lines.end() ? SourceLine{} : found->second;
  };

  std::vector<Fault> faults;
  for (Finding& finding : findings_) {
    Fault fault;
    fault.kind = finding.kind;
    fault.kernel = launch_->kernel;
    fault.block = finding.block;
    fault.thread = finding.thread;
    const SourceLine here = line_of(finding.place), there = line_of(finding.other_place);
    fault.file = here.file;
    fault.line = here.line;
    fault.message = std::move(finding.message);
    constexpr std::string_view kToken = "{other}";
    if (const auto at = fault.message.find(kToken); at != std::string::npos)
      fault.message.replace(
          at, kToken.size(),
          there.line == 0 ? "an unknown line" : fmt::format("{}:{}", there.file, there.line));
    faults.push_back(std::move(fault));
  }
  findings_.clear();
  return faults;
}

}  // namespace quern::simt
