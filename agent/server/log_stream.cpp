#include "agent/server/log_stream.h"

#include <utility>

namespace keelson::server {

namespace {

constexpr size_t kPiece = 256u << 10;
constexpr auto kLook = std::chrono::seconds(1);  // how long after its container a followed log ends, at most

struct Block {
  std::string text;
  bool at_end = false;
};

host::Result<Block> read_block(LogReader& reader) {
  Block block;
  auto at_end = reader.read(block.text, kPiece);
  if (!at_end) return std::unexpected(std::move(at_end.error()));
  block.at_end = *at_end;
  return block;
}

}  // namespace

LogStream::LogStream(host::Loop& loop, host::Path file, LogOptions options, bool follow, std::function<bool()> running,
                     std::function<void()> over)
    : loop_(loop),
      file_(std::move(file)),
      reader_(std::make_shared<LogReader>(file_, std::move(options))),
      follow_(follow),
      running_(std::move(running)),
      over_(std::move(over)) {}

void LogStream::start(http::Exchange exchange, const std::function<http::Answer(const host::Error&)>& fail) {
  if (follow_) {
    // Before the first read, so that nothing falls between.
    auto watch = LogWatch::create(loop_, file_, [this] {
      changed_ = true;
      if (at_end_) read();
    });
    if (!watch) {
      exchange.answer(fail(watch.error()));
      return end();
    }
    watch_ = std::move(*watch);
  }
  reading_ = true;
  auto answer = std::make_shared<http::Exchange>(std::move(exchange));  // the task must be copyable
  loop_.offload([reader = reader_] { return read_block(*reader); },
                [self = shared_from_this(), answer, fail](host::Result<Block> block) {
                  self->reading_ = false;
                  if (!block) {
                    answer->answer(fail(block.error()));
                    return self->end();
                  }
                  self->stream_ = answer->stream({.content_type = "text/plain; charset=utf-8"});
                  self->stream_.on_closed([weak = self->weak_from_this()] {
                    if (const auto alive = weak.lock()) alive->end();
                  });
                  self->stream_.on_drained([weak = self->weak_from_this()] {
                    if (const auto alive = weak.lock()) alive->read();
                  });
                  self->got(std::move(block->text), block->at_end);
                });
}

void LogStream::read() {
  if (reading_ || ended_ || stream_.queued() > 0) return;  // drained: then again
  if (at_end_ && !std::exchange(changed_, false)) return wait_for_more();
  reading_ = true;
  changed_ = false;
  loop_.offload([reader = reader_] { return read_block(*reader); },
                [self = shared_from_this()](host::Result<Block> block) {
                  self->reading_ = false;
                  // The answer is under way: breaking it off is all that can be said now.
                  if (!block) return self->end();
                  self->got(std::move(block->text), block->at_end);
                });
}

void LogStream::got(std::string text, bool at_end) {
  if (ended_) return;
  at_end_ = at_end;
  const bool nothing = text.empty();
  if (!nothing && !stream_.write(std::move(text))) return end();
  if (at_end && (!follow_ || reader_->finished() || last_round_)) {
    stream_.end();
    return end();
  }
  if (!stream_.open()) return end();
  if (nothing) read();
}

void LogStream::wait_for_more() {
  if (look_.armed()) return;
  look_ = loop_.after(kLook, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->ended_) return;
    if (!self->running_()) {
      // Its last words may have been written since.
      self->last_round_ = true;
      self->changed_ = true;
    }
    self->read();
  });
}

void LogStream::end() {
  if (ended_) return;
  ended_ = true;
  watch_.reset();
  look_.cancel();
  stream_ = {};
  if (auto over = std::exchange(over_, nullptr)) loop_.post(std::move(over));
}

}  // namespace keelson::server
