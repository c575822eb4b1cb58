// What the card knows: its memory, its streams, and which accesses are ordered behind which. See fake_cuda.cpp.
#pragma once
#include <cuda_runtime_api.h>
#include <library_types.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
#define LOCK std::lock_guard<std::recursive_mutex> lock(card().mutex)

namespace {

constexpr size_t LARGE = 1000000, PAGE = 2 << 20;
using Clock = std::vector<unsigned long>;  // one count a stream: what is known to be done
using Range = std::pair<const char*, size_t>;

struct Stream { int index; Clock seen; };
struct Event { Clock seen; bool blocking; };
struct Access { const char *from, *to; int stream; unsigned long at; bool writes; const char* what; };
struct Sent { const char* from; size_t count; int stream; unsigned long at; unsigned sum; };
struct Layout { int type; unsigned long rows, columns; long stride; };
struct Segment { size_t count; };

size_t number(const char* name, size_t otherwise) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 10) : otherwise;
}

struct Card {
  std::recursive_mutex mutex;
  size_t memory = number("FAKE_MEMORY", 24ull << 30), used = 0, most_used = 0;
  size_t lockable = number("FAKE_LOCKABLE", -1), locked = 0, most_locked = 0;
  bool skip = number("FAKE_SKIP", 0), no_segments = number("FAKE_NO_SEGMENTS", 0);
  std::map<const char*, size_t> device, host;  // allocations; page-locked memory
  Clock host_seen;
  std::vector<Stream*> streams{new Stream{0, {}}};
  std::vector<Access> accesses;
  std::vector<Sent> sent;
  std::map<std::string, std::pair<size_t, double>> counts;
  cudaError_t error = cudaSuccess;
};

Card& card() { static Card* one = new Card; return *one; }  // torch's own destructors call late

void count(const std::string& what, double bytes = 0) { auto& c = card().counts[what]; c.first++; c.second += bytes; }

cudaError_t failed(cudaError_t code) { return card().error = code; }

Stream* stream_of(cudaStream_t handle) { return (size_t)handle <= 2 ? card().streams[0] : (Stream*)handle; }

void join(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (size_t i = 0; i < from.size(); i++) into[i] = std::max(into[i], from[i]);
}

bool knows(const Clock& clock, int stream, unsigned long at) {
  return (size_t)stream < clock.size() && clock[stream] >= at;
}

unsigned long tick(Stream* stream) {  // work is issued: behind what the host has waited for
  join(stream->seen, card().host_seen);
  if (stream->seen.size() <= (size_t)stream->index) stream->seen.resize(stream->index + 1);
  return ++stream->seen[stream->index];
}

bool within(const std::map<const char*, size_t>& ranges, const void* at) {
  auto next = ranges.upper_bound((const char*)at);
  if (next == ranges.begin()) return false;
  --next;
  return (const char*)at < next->first + next->second;
}

void race(const char* what, const char* against) {
  count("race");
  if (card().counts["race"].first <= 20) fprintf(stderr, "race: %s is not ordered behind %s\n", what, against);
}

void touch(const void* at, size_t bytes, Stream* stream, unsigned long now, bool writes, const char* what) {
  if (!bytes || !within(card().device, at)) return;
  const char *from = (const char*)at, *to = from + bytes;
  auto& all = card().accesses;
  size_t kept = 0;
  for (auto& one : all) {
    bool over = false;
    if (one.from < to && from < one.to) {
      bool ordered = one.stream == stream->index || knows(stream->seen, one.stream, one.at);
      if (!ordered && (one.writes || writes)) race(what, one.what);
      over = ordered && from <= one.from && one.to <= to && (writes || !one.writes);
    }
    if (!over) all[kept++] = one;
  }
  all.resize(kept);
  all.push_back({from, to, stream->index, now, writes, what});
}

void forget(const char* from, const char* to) {
  auto& all = card().accesses;
  all.erase(std::remove_if(all.begin(), all.end(), [&](Access& a) { return a.from < to && from < a.to; }), all.end());
}

unsigned sum_of(const char* at, size_t bytes) {
  unsigned sum = 2166136261u;
  for (size_t i = 0; i < bytes; i += std::max<size_t>(1, bytes / 4096)) sum = (sum ^ (unsigned char)at[i]) * 16777619u;
  return sum;
}

void check_sources(const char* from, const char* to) {  // of copies in flight, and of those the host has waited for
  auto& all = card().sent;
  size_t kept = 0;
  for (auto& one : all) {
    bool done = knows(card().host_seen, one.stream, one.at), again = one.from < to && from < one.from + one.count;
    if ((done || again) && sum_of(one.from, one.count) != one.sum) race("a change of page-locked memory", "a copy from it");
    else if (!done) all[kept++] = one;
  }
  all.resize(kept);
}

void host_waits(const Clock& clock) { join(card().host_seen, clock); check_sources(nullptr, nullptr); }

void all_wait() { for (auto* stream : card().streams) join(card().host_seen, stream->seen); check_sources(nullptr, nullptr); }

cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t handle, bool waits) {
  LOCK;
  auto* stream = stream_of(handle);
  unsigned long now = tick(stream);
  bool to_card = within(card().device, to), from_card = within(card().device, from);
  const void* other = to_card ? from : to;
  bool locked = within(card().host, other);
  if (to_card != from_card) {
    std::string kind = std::string(to_card ? "to the card" : "to the host") + (locked ? ", locked" : ", pageable");
    count(kind + (bytes > LARGE ? ", large" : ", small"), bytes);
  }
  if (to_card) touch(to, bytes, stream, now, true, "a copy's write");
  if (from_card) touch(from, bytes, stream, now, false, "a copy's read");
  bool moves = !(card().skip && bytes > LARGE);
  if (to_card && !from_card && locked && moves) {
    check_sources((const char*)from, (const char*)from + bytes);
    card().sent.push_back({(const char*)from, bytes, stream->index, now, sum_of((const char*)from, bytes)});
  }
  if (moves) memmove(to, from, bytes);
  if (!to_card && bytes == 1) *(char*)to = 1;  // a truth value: all finite
  if (waits || (to_card != from_card && !locked)) host_waits(stream->seen);
  return cudaSuccess;
}

void* map_pages(size_t bytes) {
  char* raw = (char*)mmap(nullptr, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return raw == MAP_FAILED ? nullptr : raw + (PAGE - (size_t)raw % PAGE) % PAGE;
}

bool take(size_t bytes) {
  auto& c = card();
  if (c.used + bytes > c.memory) return false;
  c.used += bytes;
  c.most_used = std::max(c.most_used, c.used);
  return true;
}

bool lock_pages(const void* at, size_t bytes) {
  auto& c = card();
  if (c.locked + bytes > c.lockable) return false;
  c.host[(const char*)at] = bytes;
  c.locked += bytes;
  c.most_locked = std::max(c.most_locked, c.locked);
  return true;
}

struct Report {
  ~Report() {
    auto& c = card();
    FILE* file = getenv("FAKE_REPORT") ? fopen(getenv("FAKE_REPORT"), "w") : nullptr;
    if (!file) return;
    fprintf(file, "most used\t1\t%zu\nmost locked\t1\t%zu\n", c.most_used, c.most_locked);
    for (auto& one : c.counts) fprintf(file, "%s\t%zu\t%.0f\n", one.first.c_str(), one.second.first, one.second.second);
    fclose(file);
  }
} report;

thread_local struct { dim3 grid, block; size_t shared; cudaStream_t stream; } pushed;

}  // namespace
