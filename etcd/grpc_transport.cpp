// The plug-in libkeelson-etcd.so: etcd by gRPC. The only file that knows gRPC.
//
// One completion queue and one thread of ours, on which all callbacks come. Every
// operation is a Tag; it stays alive until gRPC has given back all that it holds.

#include <fmt/core.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "etcd/rpc.grpc.pb.h"
#include "etcd/transport.h"

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

// ---- errors --------------------------------------------------------------------------

CallError to_error(const grpc::Status& status, const std::string& endpoint) {
  using Code = host::Error::Code;
  const std::string& text = status.error_message();
  CallError error;
  error.error.message = fmt::format("etcd {}: {}", endpoint, text.empty() ? "the connection ended" : text);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      error.error.code = Code::unavailable;
      // gRPC's words when it never had a connection (client_channel, 1.51). Not having
      // them costs a retry, nothing else.
      error.never_sent = text.find("failed to connect to all addresses") != std::string::npos;
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      error.error.code = Code::unavailable;
      error.error.message = fmt::format("etcd {}: no answer in time", endpoint);
      break;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      error.error.code = Code::unavailable;
      break;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
      error.error.code = Code::invalid;
      break;
    case grpc::StatusCode::OUT_OF_RANGE:
      error.error.code = Code::invalid;
      error.compacted = text.find("compacted") != std::string::npos;
      break;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      // gRPC's own words (message_size filter), to tell it from etcd's "no space".
      error.too_large = text.find("larger than max") != std::string::npos;
      break;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      error.error.code = Code::denied;
      break;
    case grpc::StatusCode::NOT_FOUND:
      error.error.code = Code::not_found;
      break;
    default:
      break;
  }
  return error;
}

// ---- the transport -------------------------------------------------------------------

class Tag {
 public:
  virtual ~Tag() = default;
  // On the queue's thread.
  virtual void completed(bool ok) = 0;
};

class GrpcTransport;

// How many operations gRPC still holds.
class Outstanding {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void drop() {
    const std::lock_guard lock(mutex_);
    if (--count_ == 0) none_.notify_all();
  }
  void wait_for_none() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  size_t count_ = 0;
};

struct Member {
  std::string name;
  std::shared_ptr<grpc::Channel> channel;  // gRPC's own way of owning it
  std::unique_ptr<pb::KV::Stub> kv;
  std::unique_ptr<pb::Watch::Stub> watch;
  std::unique_ptr<pb::Lease::Stub> lease;
};

struct UnaryBase;

class GrpcTransport : public Transport {
 public:
  explicit GrpcTransport(const TransportSettings& settings);
  ~GrpcTransport() override;

  void call(size_t endpoint, Request request, milliseconds deadline,
            std::move_only_function<void(CallResult)> done) override;
  std::unique_ptr<Stream> watch(size_t endpoint, WatchRequest request, std::function<void(WatchNews)> news) override;
  std::unique_ptr<Stream> keep_alive(size_t endpoint, int64_t lease, std::function<void(KeepAliveNews)> news) override;

  // Unary calls that are under way, to be cancelled at the end.
  void enter(UnaryBase* call) {
    const std::lock_guard lock(mutex_);
    calls_.insert(call);
  }
  // False when the transport is ending: its callback must not run.
  bool leave(UnaryBase* call) {
    const std::lock_guard lock(mutex_);
    calls_.erase(call);
    return !ending_;
  }

  grpc::CompletionQueue& queue() { return queue_; }

 private:
  std::vector<Member> members_;
  grpc::CompletionQueue queue_;
  std::mutex mutex_;
  std::set<UnaryBase*> calls_;
  bool ending_ = false;
  std::thread thread_;
};

struct UnaryBase : Tag {
  grpc::ClientContext context;
  grpc::Status status;
};

template <typename Response>
struct Unary : UnaryBase {
  Unary(GrpcTransport& transport, std::string endpoint, std::move_only_function<void(CallResult)> done)
      : transport(transport), endpoint(std::move(endpoint)), done(std::move(done)) {}

  void completed(bool) override {
    std::unique_ptr<Unary> self(this);
    if (!transport.leave(this)) return;
    if (status.ok()) {
      done(Answer(from_pb(std::move(response))));
    } else {
      done(std::unexpected(to_error(status, endpoint)));
    }
  }

  GrpcTransport& transport;
  const std::string endpoint;
  Response response;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  std::move_only_function<void(CallResult)> done;
};

// A bidirectional stream: one write at a time, one read always pending, Finish at the end.
// Owned by itself while gRPC holds any of its tags; the handle that the caller holds
// cancels it and waits for that.
template <typename Request, typename Response>
class Bidirectional {
 public:
  virtual ~Bidirectional() = default;

  void begin(std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>> stream) {
    stream_ = std::move(stream);
    outstanding_.add();
    stream_->StartCall(&start_);
  }

  // At most one message waits behind the one that is being written.
  void write(Request request) {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    next_ = std::move(request);
    if (started_ && !writing_) write_next();
  }

  // From another thread than the queue's. Afterwards no callback runs.
  void end() {
    {
      const std::lock_guard lock(mutex_);
      quiet_ = true;
    }
    context.TryCancel();
    outstanding_.wait_for_none();
  }

  grpc::ClientContext context;

 protected:
  // On the queue's thread; not after end() has returned.
  virtual void read(Response&& response) = 0;
  virtual void finished(const grpc::Status& status) = 0;

 private:
  struct Step : Tag {
    Step(Bidirectional& stream, void (Bidirectional::*step)(bool)) : stream(stream), step(step) {}
    void completed(bool ok) override {
      (stream.*step)(ok);
      stream.outstanding_.drop();  // the last word: the stream may be gone now
    }
    Bidirectional& stream;
    void (Bidirectional::*step)(bool);
  };

  // With the mutex held.
  void write_next() {
    writing_ = true;
    outstanding_.add();
    stream_->Write(*std::exchange(next_, std::nullopt), &write_);
  }
  void read_next() {
    outstanding_.add();
    stream_->Read(&response_, &read_);
  }
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(ended_, true)) return;
    }
    outstanding_.add();
    stream_->Finish(&status_, &finish_);
  }

  void on_started(bool ok) {
    if (!ok) return finish();
    {
      const std::lock_guard lock(mutex_);
      started_ = true;
      if (next_) write_next();
    }
    read_next();
  }
  void on_written(bool ok) {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok && next_ && !ended_) write_next();  // a failed one shows in the read
  }
  void on_read(bool ok) {
    if (!ok) return finish();
    if (!quiet()) read(std::move(response_));
    response_.Clear();
    read_next();
  }
  void on_finished(bool) {
    if (!quiet()) finished(status_);
  }
  bool quiet() {
    const std::lock_guard lock(mutex_);
    return quiet_;
  }

  std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>> stream_;
  Step start_{*this, &Bidirectional::on_started}, write_{*this, &Bidirectional::on_written},
      read_{*this, &Bidirectional::on_read}, finish_{*this, &Bidirectional::on_finished};
  Response response_;
  grpc::Status status_;
  Outstanding outstanding_;
  std::mutex mutex_;
  std::optional<Request> next_;
  bool started_ = false, writing_ = false, ended_ = false, quiet_ = false;
};

class WatchStream : public Stream, public Bidirectional<pb::WatchRequest, pb::WatchResponse> {
 public:
  WatchStream(std::string endpoint, std::function<void(WatchNews)> news)
      : endpoint_(std::move(endpoint)), news_(std::move(news)) {}
  ~WatchStream() override { end(); }
  void beat() override {}

 private:
  void read(pb::WatchResponse&& response) override {
    if (ended_) return;
    if (response.canceled()) {
      ended_ = true;
      const std::string& reason = response.cancel_reason();
      return news_(WatchEnd{.error = {.code = host::Error::Code::unavailable,
                                      .message = fmt::format("etcd {}: the watch was cancelled: {}", endpoint_,
                                                             reason.empty() ? "compacted" : reason)},
                            .compact_revision = response.compact_revision()});
    }
    WatchBatch batch{.cluster_id = response.header().cluster_id(),
                     .revision = response.fragment() ? 0 : response.header().revision(),
                     .created = response.created()};
    for (auto& event : *response.mutable_events()) {
      batch.events.push_back({.type = event.type() == pb::Event::PUT ? Event::Type::put : Event::Type::deleted,
                              .kv = from_pb(std::move(*event.mutable_kv()))});
    }
    news_(std::move(batch));
  }
  void finished(const grpc::Status& status) override {
    if (ended_) return;
    ended_ = true;
    news_(WatchEnd{.error = to_error(status, endpoint_).error});
  }

  const std::string endpoint_;
  const std::function<void(WatchNews)> news_;
  bool ended_ = false;  // the end has been told
};

class KeepAliveStream : public Stream, public Bidirectional<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  KeepAliveStream(std::string endpoint, int64_t lease, std::function<void(KeepAliveNews)> news)
      : endpoint_(std::move(endpoint)), lease_(lease), news_(std::move(news)) {}
  ~KeepAliveStream() override { end(); }
  void beat() override {
    pb::LeaseKeepAliveRequest request;
    request.set_id(lease_);
    write(std::move(request));
  }

 private:
  void read(pb::LeaseKeepAliveResponse&& response) override { news_(KeepAliveAnswer{.ttl_seconds = response.ttl()}); }
  void finished(const grpc::Status& status) override { news_(std::unexpected(to_error(status, endpoint_).error)); }

  const std::string endpoint_;
  const int64_t lease_;
  const std::function<void(KeepAliveNews)> news_;
};

GrpcTransport::GrpcTransport(const TransportSettings& settings) {
  // What goes wrong comes back as a status; gRPC's own lines on stderr would not be ours.
  gpr_set_log_function([](gpr_log_func_args*) {});
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(settings.message_bytes));
  // A peer that vanished without a word is noticed in 15 s (etcd allows a ping each 5 s).
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // When to try again is the client's decision; gRPC only must not stand in its way.
  // MIN_RECONNECT_BACKOFF is, by its use (subchannel.cc), how long one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetServiceConfigJSON("{}");
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);

  const auto credentials = settings.tls ? grpc::SslCredentials({.pem_root_certs = settings.ca,
                                                                .pem_private_key = settings.key,
                                                                .pem_cert_chain = settings.certificate})
                                        : grpc::InsecureChannelCredentials();
  for (const auto& endpoint : settings.endpoints) {
    Member member{.name = endpoint, .channel = grpc::CreateCustomChannel(endpoint, credentials, arguments)};
    member.kv = pb::KV::NewStub(member.channel);
    member.watch = pb::Watch::NewStub(member.channel);
    member.lease = pb::Lease::NewStub(member.channel);
    members_.push_back(std::move(member));
  }
  thread_ = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) static_cast<Tag*>(tag)->completed(ok);
  });
}

GrpcTransport::~GrpcTransport() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (auto* call : calls_) call->context.TryCancel();
  }
  queue_.Shutdown();
  thread_.join();
}

void GrpcTransport::call(size_t endpoint, Request request, milliseconds deadline,
                         std::move_only_function<void(CallResult)> done) {
  Member& member = members_.at(endpoint);
  const auto send = [&]<typename Response>(auto&& prepare, std::type_identity<Response>) {
    auto call = std::make_unique<Unary<Response>>(*this, member.name, std::move(done));
    call->context.set_deadline(std::chrono::system_clock::now() + deadline);
    call->reader = prepare(&call->context);
    enter(call.get());
    call->reader->StartCall();
    auto* tag = call.release();  // comes back as a tag
    tag->reader->Finish(&tag->response, &tag->status, static_cast<Tag*>(tag));
  };
  if (auto* range = std::get_if<Range>(&request)) {
    send([&](auto* context) { return member.kv->PrepareAsyncRange(context, to_pb(std::move(*range)), &queue_); },
         std::type_identity<pb::RangeResponse>());
  } else if (auto* put = std::get_if<Put>(&request)) {
    send([&](auto* context) { return member.kv->PrepareAsyncPut(context, to_pb(std::move(*put)), &queue_); },
         std::type_identity<pb::PutResponse>());
  } else if (auto* remove = std::get_if<Delete>(&request)) {
    send([&](auto* context) { return member.kv->PrepareAsyncDeleteRange(context, to_pb(std::move(*remove)), &queue_); },
         std::type_identity<pb::DeleteRangeResponse>());
  } else if (auto* txn = std::get_if<Txn>(&request)) {
    send([&](auto* context) { return member.kv->PrepareAsyncTxn(context, to_pb(std::move(*txn)), &queue_); },
         std::type_identity<pb::TxnResponse>());
  } else if (auto* compact = std::get_if<Compact>(&request)) {
    send([&](auto* context) { return member.kv->PrepareAsyncCompact(context, to_pb(*compact), &queue_); },
         std::type_identity<pb::CompactionResponse>());
  } else if (auto* grant = std::get_if<LeaseGrant>(&request)) {
    send([&](auto* context) { return member.lease->PrepareAsyncLeaseGrant(context, to_pb(*grant), &queue_); },
         std::type_identity<pb::LeaseGrantResponse>());
  } else if (auto* revoke = std::get_if<LeaseRevoke>(&request)) {
    send([&](auto* context) { return member.lease->PrepareAsyncLeaseRevoke(context, to_pb(*revoke), &queue_); },
         std::type_identity<pb::LeaseRevokeResponse>());
  }
}

std::unique_ptr<Stream> GrpcTransport::watch(size_t endpoint, WatchRequest request,
                                             std::function<void(WatchNews)> news) {
  Member& member = members_.at(endpoint);
  auto stream = std::make_unique<WatchStream>(member.name, std::move(news));
  // A member that is cut off from the others ends the watch instead of staying silent.
  stream->context.AddMetadata("hasleader", "true");
  pb::WatchRequest create;
  auto& watch = *create.mutable_create_request();
  watch.set_key(request.key.empty() ? std::string(1, '\0') : std::move(request.key));
  watch.set_range_end(std::move(request.range_end));
  watch.set_start_revision(request.start_revision);
  watch.set_progress_notify(true);
  watch.set_fragment(true);
  stream->begin(member.watch->PrepareAsyncWatch(&stream->context, &queue_));
  stream->write(std::move(create));
  return stream;
}

std::unique_ptr<Stream> GrpcTransport::keep_alive(size_t endpoint, int64_t lease,
                                                  std::function<void(KeepAliveNews)> news) {
  Member& member = members_.at(endpoint);
  auto stream = std::make_unique<KeepAliveStream>(member.name, lease, std::move(news));
  stream->begin(member.lease->PrepareAsyncLeaseKeepAlive(&stream->context, &queue_));
  return stream;
}

}  // namespace

}  // namespace keelson::etcd

extern "C" __attribute__((visibility("default"))) keelson::etcd::Transport* keelson_etcd_transport(
    unsigned version, const keelson::etcd::TransportSettings& settings, keelson::host::Error& error) {
  if (version != keelson::etcd::kTransportVersion) {
    error = {.code = keelson::host::Error::Code::unsupported,
             .message = fmt::format("version {}, but {} is wanted", keelson::etcd::kTransportVersion, version)};
    return nullptr;
  }
  return std::make_unique<keelson::etcd::GrpcTransport>(settings).release();
}
