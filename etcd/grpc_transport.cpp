// etcd by gRPC over HTTP/2 (gRPC's PROTOCOL-HTTP2): every call is an exchange of the
// endpoint's channel, every message five bytes and a protobuf message.

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "etcd/rpc.pb.h"
#include "etcd/transport.h"
#include "http/h2_channel.h"

namespace keelson::etcd {

namespace {

namespace pb = etcdserverpb;
using std::chrono::milliseconds;

// ---- messages ------------------------------------------------------------------------

KeyValue from_pb(pb::KeyValue&& kv) {
  return {.key = std::move(*kv.mutable_key()),
          .value = std::move(*kv.mutable_value()),
          .create_revision = kv.create_revision(),
          .mod_revision = kv.mod_revision(),
          .version = kv.version(),
          .lease = kv.lease()};
}

pb::RangeRequest to_pb(Range&& range) {
  pb::RangeRequest out;
  out.set_key(std::move(range.key));
  out.set_range_end(std::move(range.range_end));
  out.set_limit(range.limit);
  out.set_revision(range.revision);
  out.set_serializable(range.serializable);
  out.set_keys_only(range.keys_only);
  out.set_count_only(range.count_only);
  return out;
}

RangeAnswer from_pb(pb::RangeResponse&& in) {
  RangeAnswer out{.revision = in.header().revision(), .more = in.more(), .count = in.count()};
  out.kvs.reserve(static_cast<size_t>(in.kvs_size()));
  for (auto& kv : *in.mutable_kvs()) out.kvs.push_back(from_pb(std::move(kv)));
  return out;
}

pb::PutRequest to_pb(Put&& put) {
  pb::PutRequest out;
  out.set_key(std::move(put.key));
  out.set_value(std::move(put.value));
  out.set_lease(put.lease);
  out.set_prev_kv(put.want_previous);
  return out;
}

PutAnswer from_pb(pb::PutResponse&& in) {
  PutAnswer out{.revision = in.header().revision()};
  if (in.has_prev_kv()) out.previous = from_pb(std::move(*in.mutable_prev_kv()));
  return out;
}

pb::DeleteRangeRequest to_pb(Delete&& request) {
  pb::DeleteRangeRequest out;
  out.set_key(std::move(request.key));
  out.set_range_end(std::move(request.range_end));
  out.set_prev_kv(request.want_previous);
  return out;
}

DeleteAnswer from_pb(pb::DeleteRangeResponse&& in) {
  DeleteAnswer out{.revision = in.header().revision(), .deleted = in.deleted()};
  for (auto& kv : *in.mutable_prev_kvs()) out.previous.push_back(from_pb(std::move(kv)));
  return out;
}

void set(pb::Compare& out, Compare&& compare) {
  out.set_key(std::move(compare.key));
  switch (compare.relation) {
    case Compare::Relation::equal:
      out.set_result(pb::Compare::EQUAL);
      break;
    case Compare::Relation::not_equal:
      out.set_result(pb::Compare::NOT_EQUAL);
      break;
    case Compare::Relation::greater:
      out.set_result(pb::Compare::GREATER);
      break;
    case Compare::Relation::less:
      out.set_result(pb::Compare::LESS);
      break;
  }
  switch (compare.target) {
    case Compare::Target::mod_revision:
      out.set_target(pb::Compare::MOD);
      out.set_mod_revision(compare.value);
      break;
    case Compare::Target::create_revision:
      out.set_target(pb::Compare::CREATE);
      out.set_create_revision(compare.value);
      break;
    case Compare::Target::version:
      out.set_target(pb::Compare::VERSION);
      out.set_version(compare.value);
      break;
  }
}

void set(pb::RequestOp& out, Operation&& operation) {
  if (auto* range = std::get_if<Range>(&operation)) *out.mutable_request_range() = to_pb(std::move(*range));
  if (auto* put = std::get_if<Put>(&operation)) *out.mutable_request_put() = to_pb(std::move(*put));
  if (auto* remove = std::get_if<Delete>(&operation)) *out.mutable_request_delete_range() = to_pb(std::move(*remove));
}

pb::TxnRequest to_pb(Txn&& txn) {
  pb::TxnRequest out;
  for (auto& compare : txn.compares) set(*out.add_compare(), std::move(compare));
  for (auto& operation : txn.success) set(*out.add_success(), std::move(operation));
  for (auto& operation : txn.failure) set(*out.add_failure(), std::move(operation));
  return out;
}

TxnAnswer from_pb(pb::TxnResponse&& in) {
  TxnAnswer out{.revision = in.header().revision(), .succeeded = in.succeeded()};
  for (auto& answer : *in.mutable_responses()) {
    switch (answer.response_case()) {
      case pb::ResponseOp::kResponseRange:
        out.answers.emplace_back(from_pb(std::move(*answer.mutable_response_range())));
        break;
      case pb::ResponseOp::kResponsePut:
        out.answers.emplace_back(from_pb(std::move(*answer.mutable_response_put())));
        break;
      case pb::ResponseOp::kResponseDeleteRange:
        out.answers.emplace_back(from_pb(std::move(*answer.mutable_response_delete_range())));
        break;
      default:
        break;
    }
  }
  return out;
}

pb::CompactionRequest to_pb(const Compact& request) {
  pb::CompactionRequest out;
  out.set_revision(request.revision);
  out.set_physical(true);
  return out;
}
CompactAnswer from_pb(pb::CompactionResponse&&) { return {}; }

pb::LeaseGrantRequest to_pb(const LeaseGrant& request) {
  pb::LeaseGrantRequest out;
  out.set_ttl(request.ttl_seconds);
  out.set_id(request.id);
  return out;
}
LeaseGrantAnswer from_pb(pb::LeaseGrantResponse&& in) { return {.id = in.id(), .ttl_seconds = in.ttl()}; }

pb::LeaseRevokeRequest to_pb(const LeaseRevoke& request) {
  pb::LeaseRevokeRequest out;
  out.set_id(request.id);
  return out;
}
LeaseRevokeAnswer from_pb(pb::LeaseRevokeResponse&&) { return {}; }

// ---- gRPC -----------------------------------------------------------------------------

constexpr size_t kPrefix = 5;  // whether compressed, and the length

enum class Code {  // google.golang.org/grpc/codes
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  unauthenticated = 16,
};

struct RpcStatus {
  Code code = Code::ok;
  std::string message;
  bool unseen = false;     // the server has not acted on it
  bool too_large = false;  // an answer was longer than we take
};

std::string frame(const google::protobuf::MessageLite& message) {
  std::string out(kPrefix, '\0');
  message.AppendToString(&out);
  const auto size = static_cast<uint32_t>(out.size() - kPrefix);
  for (size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(size >> (8 * (3 - i)));
  return out;
}

// grpc-message: printable ASCII as it is, the rest as %XX.
std::string decode_message(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

CallError to_error(const RpcStatus& status, const std::string& endpoint) {
  using Kind = host::Error::Code;
  CallError error{.too_large = status.too_large, .never_sent = status.unseen};
  error.error.message =
      fmt::format("etcd {}: {}", endpoint, status.message.empty() ? "the connection ended" : status.message);
  switch (status.code) {
    case Code::unavailable:
      error.error.code = Kind::unavailable;
      // A member that knows no leader says so before it looks at the request (v3rpc/interceptor.go).
      if (status.message == "etcdserver: no leader") error.never_sent = true;
      break;
    case Code::deadline_exceeded:
    case Code::cancelled:
    case Code::aborted:
      error.error.code = Kind::unavailable;
      break;
    case Code::invalid_argument:
    case Code::failed_precondition:
      error.error.code = Kind::invalid;
      break;
    case Code::out_of_range:
      error.error.code = Kind::invalid;
      error.compacted = status.message.find("compacted") != std::string::npos;
      break;
    case Code::permission_denied:
    case Code::unauthenticated:
      error.error.code = Kind::denied;
      break;
    case Code::not_found:
      error.error.code = Kind::not_found;
      break;
    default:
      break;
  }
  return error;
}

// One call: messages come apart, its end becomes a status.
class Rpc : public http::H2Exchange {
 public:
  explicit Rpc(size_t limit) : limit_(limit) {}

  void on_news() final {
    while (!over_) {
      const auto message = next();
      if (!message) break;
      if (!on_message(*message)) finish({.code = Code::internal, .message = "an answer that cannot be read"});
      taken_ += kPrefix + message->size();
    }
    received.erase(0, std::exchange(taken_, 0));
    if (end && !over_) finish(status());
  }
  // Its user wants nothing more.
  void give_up() {
    over_ = true;
    cancel();
  }

 protected:
  // False: it cannot be read.
  virtual bool on_message(std::string_view message) = 0;
  // Once, last.
  virtual void on_status(RpcStatus status) = 0;
  void finish(RpcStatus status) {
    if (std::exchange(over_, true)) return;
    cancel();
    on_status(std::move(status));
  }

 private:
  // The next message, when it is whole.
  std::optional<std::string_view> next() {
    const std::string_view left = std::string_view(received).substr(taken_);
    if (left.size() < kPrefix) return std::nullopt;
    size_t size = 0;
    for (size_t i = 1; i < kPrefix; ++i) size = size << 8 | static_cast<unsigned char>(left[i]);
    if (left[0] != '\0') {
      finish({.code = Code::internal, .message = "a compressed message, which we did not ask for"});
    } else if (size > limit_) {
      finish({.code = Code::resource_exhausted,
              .message = fmt::format("an answer of {} bytes, the limit is {}", size, limit_),
              .too_large = true});
    } else if (left.size() - kPrefix >= size) {
      return left.substr(kPrefix, size);
    } else if (received.capacity() < taken_ + kPrefix + size) {
      received.reserve(taken_ + kPrefix + size);
    }
    return std::nullopt;
  }

  RpcStatus status() const {
    if (const auto code = headers.get("grpc-status"); !code.empty()) {
      int number = static_cast<int>(Code::unknown);
      std::from_chars(code.data(), code.data() + code.size(), number);
      return {.code = static_cast<Code>(number), .message = decode_message(headers.get("grpc-message"))};
    }
    if (!end->complete) return {.code = Code::unavailable, .message = end->why, .unseen = end->unseen};
    const auto http = headers.get(":status");
    return {.code = Code::unavailable, .message = fmt::format("HTTP status {}: this is no etcd", http)};
  }

  const size_t limit_;
  size_t taken_ = 0;
  bool over_ = false;
};

// ---- unary calls ----------------------------------------------------------------------

using ParseAnswer = std::optional<Answer> (*)(std::string_view);

template <typename Response>
std::optional<Answer> parse(std::string_view message) {
  Response response;
  if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) return std::nullopt;
  return Answer(from_pb(std::move(response)));
}

struct Method {
  const char* path;
  std::string body;
  ParseAnswer parse;
};

Method method_of(Request&& request) {
  return std::visit(
      [](auto&& one) -> Method {
        using One = std::remove_cvref_t<decltype(one)>;
        if constexpr (std::is_same_v<One, Range>) {
          return {"/etcdserverpb.KV/Range", frame(to_pb(std::move(one))), parse<pb::RangeResponse>};
        } else if constexpr (std::is_same_v<One, Put>) {
          return {"/etcdserverpb.KV/Put", frame(to_pb(std::move(one))), parse<pb::PutResponse>};
        } else if constexpr (std::is_same_v<One, Delete>) {
          return {"/etcdserverpb.KV/DeleteRange", frame(to_pb(std::move(one))), parse<pb::DeleteRangeResponse>};
        } else if constexpr (std::is_same_v<One, Txn>) {
          return {"/etcdserverpb.KV/Txn", frame(to_pb(std::move(one))), parse<pb::TxnResponse>};
        } else if constexpr (std::is_same_v<One, Compact>) {
          return {"/etcdserverpb.KV/Compact", frame(to_pb(one)), parse<pb::CompactionResponse>};
        } else if constexpr (std::is_same_v<One, LeaseGrant>) {
          return {"/etcdserverpb.Lease/LeaseGrant", frame(to_pb(one)), parse<pb::LeaseGrantResponse>};
        } else {
          static_assert(std::is_same_v<One, LeaseRevoke>);
          return {"/etcdserverpb.Lease/LeaseRevoke", frame(to_pb(one)), parse<pb::LeaseRevokeResponse>};
        }
      },
      std::move(request));
}

class UnaryCall : public Rpc, public std::enable_shared_from_this<UnaryCall> {
 public:
  UnaryCall(const std::string& endpoint, size_t limit, ParseAnswer parse,
            std::move_only_function<void(CallResult)> done)
      : Rpc(limit), endpoint_(endpoint), parse_(parse), done_(std::move(done)) {}

  void until(host::Loop& loop, milliseconds deadline) {
    deadline_ = loop.after(deadline, [weak = weak_from_this()] {
      // The channel, which lets go of it, is its only owner.
      if (const auto self = weak.lock())
        self->finish({.code = Code::deadline_exceeded, .message = "no answer in time"});
    });
  }

 private:
  bool on_message(std::string_view message) override {
    answer_ = parse_(message);
    return answer_.has_value();
  }
  void on_status(RpcStatus status) override {
    deadline_.cancel();
    auto done = std::move(done_);  // it may destroy us
    if (status.code == Code::ok && answer_) return done(std::move(*answer_));
    if (status.code == Code::ok) status = {.code = Code::internal, .message = "an answer without a message"};
    done(std::unexpected(to_error(status, endpoint_)));
  }

  const std::string& endpoint_;  // the transport's
  const ParseAnswer parse_;
  std::move_only_function<void(CallResult)> done_;
  std::optional<Answer> answer_;
  host::Timer deadline_;
};

// ---- streams --------------------------------------------------------------------------

class WatchCall : public Rpc {
 public:
  WatchCall(const std::string& endpoint, size_t limit, std::function<void(WatchNews)> news)
      : Rpc(limit), endpoint_(endpoint), news_(std::move(news)) {}

 private:
  bool on_message(std::string_view message) override {
    pb::WatchResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) return false;
    if (response.canceled()) {
      give_up();
      const std::string& reason = response.cancel_reason();
      news_(WatchEnd{.error = {.code = host::Error::Code::unavailable,
                               .message = fmt::format("etcd {}: the watch was cancelled: {}", endpoint_,
                                                      reason.empty() ? "compacted" : reason)},
                     .compact_revision = response.compact_revision()});
      return true;
    }
    WatchBatch batch{.cluster_id = response.header().cluster_id(),
                     .revision = response.fragment() ? 0 : response.header().revision(),
                     .created = response.created()};
    for (auto& event : *response.mutable_events()) {
      batch.events.push_back({.type = event.type() == pb::Event::PUT ? Event::Type::put : Event::Type::deleted,
                              .kv = from_pb(std::move(*event.mutable_kv()))});
    }
    news_(std::move(batch));
    return true;
  }
  void on_status(RpcStatus status) override { news_(WatchEnd{.error = to_error(status, endpoint_).error}); }

  const std::string& endpoint_;
  const std::function<void(WatchNews)> news_;
};

class KeepAliveCall : public Rpc {
 public:
  KeepAliveCall(const std::string& endpoint, size_t limit, std::function<void(KeepAliveNews)> news)
      : Rpc(limit), endpoint_(endpoint), news_(std::move(news)) {}

 private:
  bool on_message(std::string_view message) override {
    pb::LeaseKeepAliveResponse response;
    if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) return false;
    news_(KeepAliveAnswer{.ttl_seconds = response.ttl()});
    return true;
  }
  void on_status(RpcStatus status) override { news_(std::unexpected(to_error(status, endpoint_).error)); }

  const std::string& endpoint_;
  const std::function<void(KeepAliveNews)> news_;
};

// The caller's end of a stream.
template <typename Call>
class Handle : public Stream {
 public:
  Handle(std::shared_ptr<Call> call, int64_t lease) : call_(std::move(call)), lease_(lease) {}
  ~Handle() override { call_->give_up(); }
  void beat() override {
    if (lease_ == 0) return;
    pb::LeaseKeepAliveRequest request;
    request.set_id(lease_);
    call_->send(frame(request), false);
  }

 private:
  const std::shared_ptr<Call> call_;  // shared with the channel
  const int64_t lease_;               // 0: a watch
};

// ---- the transport --------------------------------------------------------------------

struct Member {
  std::string name;
  std::string authority;
  std::unique_ptr<http::H2Channel> channel;
};

class GrpcTransport : public Transport {
 public:
  GrpcTransport(host::Loop& loop, std::vector<Member> members, bool tls, size_t limit)
      : loop_(loop), members_(std::move(members)), tls_(tls), limit_(limit) {}

  void call(size_t endpoint, Request request, milliseconds deadline,
            std::move_only_function<void(CallResult)> done) override {
    Member& member = members_.at(endpoint);
    Method method = method_of(std::move(request));
    auto call = std::make_shared<UnaryCall>(member.name, limit_, method.parse, std::move(done));
    call->until(loop_, deadline);
    member.channel->begin(std::move(call), headers(member, method.path), std::move(method.body), true);
  }

  std::unique_ptr<Stream> watch(size_t endpoint, WatchRequest request, std::function<void(WatchNews)> news) override {
    pb::WatchRequest create;
    auto& watch = *create.mutable_create_request();
    watch.set_key(request.key.empty() ? std::string(1, '\0') : std::move(request.key));
    watch.set_range_end(std::move(request.range_end));
    watch.set_start_revision(request.start_revision);
    watch.set_progress_notify(true);
    watch.set_fragment(true);
    return open<WatchCall>(endpoint, "/etcdserverpb.Watch/Watch", frame(create), std::move(news), 0);
  }

  std::unique_ptr<Stream> keep_alive(size_t endpoint, int64_t lease, std::function<void(KeepAliveNews)> news) override {
    return open<KeepAliveCall>(endpoint, "/etcdserverpb.Lease/LeaseKeepAlive", {}, std::move(news), lease);
  }

 private:
  http::Headers headers(const Member& member, const char* path) const {
    return {{":method", "POST"},
            {":scheme", tls_ ? "https" : "http"},
            {":path", path},
            {":authority", member.authority},
            {"te", "trailers"},
            {"content-type", "application/grpc"},
            {"user-agent", "keelson"},
            // A member that is cut off from the others says so instead of staying silent.
            {"hasleader", "true"}};
  }

  template <typename Call, typename News>
  std::unique_ptr<Stream> open(size_t endpoint, const char* path, std::string body, News news, int64_t lease) {
    Member& member = members_.at(endpoint);
    auto call = std::make_shared<Call>(member.name, limit_, std::move(news));
    member.channel->begin(call, headers(member, path), std::move(body), false);
    return std::make_unique<Handle<Call>>(std::move(call), lease);
  }

  host::Loop& loop_;
  std::vector<Member> members_;
  const bool tls_;
  const size_t limit_;
};

http::H2Settings channel_settings(const std::string& endpoint, const TransportSettings& settings) {
  http::H2Settings out;
  if (endpoint.starts_with("unix:")) {
    out.socket = endpoint.substr(5);
    return out;
  }
  const auto colon = endpoint.rfind(':');
  out.host = endpoint.substr(0, colon);
  out.port = endpoint.substr(colon + 1);
  if (out.host.starts_with('[')) out.host = out.host.substr(1, out.host.size() - 2);
  if (settings.tls) {
    out.tls = http::ClientTls{.ca_data = settings.ca, .cert_data = settings.certificate, .key_data = settings.key};
  }
  return out;
}

}  // namespace

host::Result<std::unique_ptr<Transport>> make_transport(host::Loop& loop, const TransportSettings& settings) {
  std::vector<Member> members;
  for (const std::string& endpoint : settings.endpoints) {
    auto channel = http::H2Channel::create(loop, channel_settings(endpoint, settings));
    if (!channel) return std::unexpected(std::move(channel.error()).within("etcd"));
    members.push_back({.name = endpoint,
                       .authority = endpoint.starts_with("unix:") ? "localhost" : endpoint,
                       .channel = std::move(*channel)});
  }
  return std::make_unique<GrpcTransport>(loop, std::move(members), settings.tls, settings.message_bytes);
}

}  // namespace keelson::etcd
