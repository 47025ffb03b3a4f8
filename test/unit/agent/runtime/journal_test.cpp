// The journal as the shim writes it and the agent reads it, and the shim's protocol
// against input that is cut, flipped or made up.

#include <boost/test/unit_test.hpp>

#include <random>
#include <string>

#include "agent/runtime/pod_files.h"
#include "agent/runtime/shim/protocol.h"

BOOST_AUTO_TEST_SUITE(journal)

namespace {

using namespace keelson;

std::string encoded(const shim::JournalEntry& entry) {
  std::string text(sizeof(shim::JournalHeader) + shim::kMaxJournalEntry, '\0');
  shim::Writer out(text.data() + sizeof(shim::JournalHeader), shim::kMaxJournalEntry);
  entry.encode(out);
  shim::JournalHeader header;
  header.size = static_cast<uint32_t>(out.size());
  header.crc = shim::crc32c(text.data() + sizeof header, out.size());
  memcpy(text.data(), &header, sizeof header);
  text.resize(sizeof header + out.size());
  return text;
}

std::string started(std::string_view name, uint32_t attempt) {
  return encoded({.kind = shim::JournalEntry::kStarted,
                  .name = name,
                  .attempt = attempt,
                  .pid = 42,
                  .start_time = 4711,
                  .boot_id = "boot",
                  .started_at_us = 1000 + attempt});
}
std::string exited(std::string_view name, uint32_t attempt, int status) {
  return encoded({.kind = shim::JournalEntry::kExited,
                  .name = name,
                  .attempt = attempt,
                  .started_at_us = 1000 + attempt,
                  .finished_at_us = 2000 + attempt,
                  .wait_status = status,
                  .oom_killed = status == 9,
                  .text = "bye"});
}

template <typename Message>
void decode_anything(const std::string& bytes) {
  Message message;
  // An exact copy on the heap: reading past its end is what the sanitizer would see.
  std::vector<char> copy(bytes.begin(), bytes.end());
  shim::Reader in(copy.data(), copy.size());
  message.decode(in);
}

}  // namespace

BOOST_AUTO_TEST_CASE(crc32c_is_castagnolis) { BOOST_TEST(shim::crc32c("123456789", 9) == 0xe3069283u); }

BOOST_AUTO_TEST_CASE(the_last_two_exits_and_the_latest_start_count) {
  std::string text;
  for (uint32_t i = 0; i < 4; ++i) text += started("web", i) + exited("web", i, static_cast<int>(i) << 8);
  text += started("init", 0) + exited("init", 0, 9) + started("web", 4);
  text += encoded({.kind = shim::JournalEntry::kFailed, .name = "bad", .attempt = 1, .text = "exec \"x\": no"});
  const auto content = runtime::decode_journal("uid", text);
  BOOST_TEST(content.sound_size == text.size());
  BOOST_REQUIRE(content.containers.size() == 3u);
  const auto& web = content.containers[0];
  BOOST_TEST(web.id.name == "web");
  BOOST_TEST(web.id.pod_uid == "uid");
  BOOST_TEST(web.id.attempt == 4u);
  BOOST_TEST(web.process.pid == 42);
  BOOST_TEST(web.boot_id == "boot");
  BOOST_REQUIRE(web.exits.size() == 2u);
  BOOST_TEST(web.exits[0].id.attempt == 2u);
  BOOST_TEST(web.exits[1].wait_status == 3 << 8);
  BOOST_TEST(web.exits[1].termination_message == "bye");
  BOOST_TEST(content.containers[1].exits[0].oom_killed);
  BOOST_TEST(content.containers[2].exits[0].start_error == "exec \"x\": no");
}

BOOST_AUTO_TEST_CASE(a_torn_or_damaged_end_is_where_the_journal_ends) {
  const std::string first = started("web", 0);
  const std::string second = exited("web", 0, 0);
  const std::string whole = first + second;
  for (size_t cut = 0; cut < second.size(); ++cut) {
    const auto content = runtime::decode_journal("uid", whole.substr(0, first.size() + cut));
    BOOST_REQUIRE(content.sound_size == first.size());
    BOOST_REQUIRE(content.containers.front().exits.empty());
  }
  for (size_t flipped = 0; flipped < second.size(); ++flipped) {
    std::string damaged = whole;
    damaged[first.size() + flipped] ^= 0x10;
    BOOST_REQUIRE(runtime::decode_journal("uid", damaged).sound_size == first.size());
  }
}

BOOST_AUTO_TEST_CASE(whatever_comes_over_the_socket_is_refused_or_read_within_its_bounds) {
  std::mt19937 random(1);
  std::string launch(600, '\0');
  shim::Writer out(launch.data(), launch.size());
  for (int i = 0; i < 6; ++i) out.u32(3);
  out.u64(1);
  for (int i = 0; i < 40; ++i) out.c_string("abc");
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = round % 3 == 0   ? started("some-name", 7)
                        : round % 3 == 1 ? launch.substr(0, random() % launch.size())
                                         : std::string(random() % 64, '\0');
    for (unsigned flips = random() % 8; flips > 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    decode_anything<shim::SandboxRequest>(bytes);
    decode_anything<shim::SandboxState>(bytes);
    decode_anything<shim::ContainerState>(bytes);
    decode_anything<shim::StartRequest>(bytes);
    decode_anything<shim::SignalRequest>(bytes);
    decode_anything<shim::ExecRequest>(bytes);
    decode_anything<shim::Started>(bytes);
    decode_anything<shim::Failure>(bytes);
    decode_anything<shim::JournalEntry>(bytes);
    decode_anything<shim::LaunchSpec>(bytes);
    runtime::decode_journal("uid", bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_c_string_has_its_nul_at_the_end_and_nowhere_else) {
  const auto read = [](std::string_view body) {
    std::string text(4, '\0');
    const auto size = static_cast<uint32_t>(body.size());
    memcpy(text.data(), &size, 4);
    text += body;
    shim::Reader in(text.data(), text.size());
    in.c_string();
    return in.complete();
  };
  BOOST_TEST(read(std::string_view("abc\0", 4)));
  BOOST_TEST(read(std::string_view("\0", 1)));
  BOOST_TEST(!read("abc"));
  BOOST_TEST(!read(std::string_view("a\0c\0", 4)));
  BOOST_TEST(!read(""));
}

BOOST_AUTO_TEST_CASE(a_request_survives_the_way) {
  std::string text(256, '\0');
  shim::Writer out(text.data(), text.size());
  shim::StartRequest{
      .name = "web", .attempt = 3, .v1 = 2, .mounts = 5, .layers = 7, .termination_file = true, .log_name = "0.log"}
      .encode(out);
  shim::StartRequest read;
  shim::Reader in(text.data(), out.size());
  BOOST_REQUIRE(read.decode(in));
  BOOST_TEST(read.name == "web");
  BOOST_TEST(read.mounts == 5u);
  BOOST_TEST(read.layers == 7u);
  BOOST_TEST(read.termination_file);
  BOOST_TEST(std::string(read.log_name) == "0.log");
  shim::Writer escaping(text.data(), text.size());
  shim::StartRequest{.name = "web", .log_name = "../0.log"}.encode(escaping);
  shim::Reader again(text.data(), escaping.size());
  BOOST_TEST(!read.decode(again));
}

BOOST_AUTO_TEST_CASE(a_record_of_a_pod_survives_the_file) {
  runtime::PodRecord record;
  record.spec.uid = "uid";
  record.spec.namespace_ = "default";
  record.spec.name = "web \"quoted\"\n";
  record.spec.qos = "Burstable";
  record.spec.share_process_namespace = true;
  record.spec.sysctls = {{"net.core.somaxconn", "5"}};
  record.spec.limits.memory_limit_bytes = 1 << 20;
  record.spec.manifest = "{\"a\": \"\\u00e9\"}";
  record.shim = runtime::ShimIdentity{{12, 345}, "boot"};
  auto read = runtime::decode_record(runtime::encode_record(record));
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(read->spec.name == record.spec.name);
  BOOST_TEST(read->spec.manifest == record.spec.manifest);
  BOOST_TEST(read->spec.share_process_namespace);
  BOOST_TEST((read->spec.sysctls == record.spec.sysctls));
  BOOST_TEST(read->spec.limits.memory_limit_bytes == 1 << 20);
  BOOST_REQUIRE(read->shim.has_value());
  BOOST_TEST(read->shim->process.start_time == 345u);
  BOOST_TEST(!runtime::decode_record("{}").has_value());
  BOOST_TEST(!runtime::decode_record("[1").has_value());
  BOOST_TEST(!runtime::decode_record("{\"uid\":5}").has_value());
}

BOOST_AUTO_TEST_SUITE_END()
