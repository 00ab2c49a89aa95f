#include "postgresql/connection.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <string_view>

namespace postern::postgresql {
namespace {

using store::Failure;

// Of pg_type, fixed for ever.
constexpr Oid kBytea = 17, kInt8 = 20, kFloat8 = 701;
constexpr Oid kByteaArray = 1001, kInt8Array = 1016, kFloat8Array = 1022;

/// libpq ends its messages with a line end, and some have several lines.
std::string one_line(std::string_view words) {
  std::string line;
  for (const char c : words) line += c == '\n' ? ' ' : c;
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

void append_big_endian(std::string& out, std::uint64_t bits, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(bits >> (8 * i));
}
std::string big_endian(std::uint64_t bits) {
  std::string value;
  append_big_endian(value, bits, 8);
  return value;
}

std::uint64_t from_big_endian(ByteView bytes) {
  std::uint64_t bits = 0;
  for (const std::byte b : bytes) bits = bits << 8 | std::to_integer<std::uint64_t>(b);
  return bits;
}

Failure by_state(std::string_view state, const std::string& words) {
  using enum Failure::Again;
  const auto is_of = [&](std::string_view kind) { return state.starts_with(kind); };
  if (state == "40001" || state == "40P01") return {Errc::unavailable, words, often};
  // Another server wrote the same row first: now it is there to be found.
  if (state == "23505") return {Errc::invalid, words, once};
  if (is_of("22") || is_of("23") || is_of("54")) return {Errc::invalid, words};
  if (is_of("53")) return {Errc::exhausted, words + "; give the database room"};
  if (is_of("XX00")) return {Errc::corrupt, words + "; restore the newest backup"};
  if (is_of("28") || state == "42501") return {Errc::denied, words};
  return {Errc::unavailable, words};
}

/// What a fresh connection would do better: the server is going, is a standby, or has forgotten or
/// no longer likes what was prepared.
bool calls_for_another_connection(std::string_view state) {
  return state.starts_with("08") || state.starts_with("57P") || state == "25006" ||
         state == "26000" || state == "0A000" || state.starts_with("42");
}

}  // namespace

bool Rows::null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }

ByteView Rows::bytes(int row, int column) const {
  if (row < 0 || row >= count() || column < 0 || column >= PQnfields(result_.get()))
    throw Failure(Errc::corrupt, fmt::format("row {} has no column {}: it has {} rows of {}", row,
                                             column, count(), PQnfields(result_.get())));
  return as_bytes(
      std::string_view(PQgetvalue(result_.get(), row, column),
                       static_cast<std::size_t>(PQgetlength(result_.get(), row, column))));
}

std::int64_t Rows::integer(int row, int column) const {
  if (null(row, column)) return 0;
  const ByteView value = bytes(row, column);
  const std::uint64_t bits = from_big_endian(value);
  switch (value.size()) {
    case 2:
      return static_cast<std::int16_t>(bits);
    case 4:
      return static_cast<std::int32_t>(bits);
    case 8:
      return static_cast<std::int64_t>(bits);
    default:
      throw Failure(Errc::corrupt,
                    fmt::format("column {} is a number of {} bytes", column, value.size()));
  }
}

double Rows::real(int row, int column) const {
  const ByteView value = bytes(row, column);
  if (value.size() != 8)
    throw Failure(Errc::corrupt,
                  fmt::format("column {} is a number of {} bytes", column, value.size()));
  return std::bit_cast<double>(from_big_endian(value));
}

Parameter Parameter::integer(std::int64_t value) {
  return {kInt8, false, big_endian(std::bit_cast<std::uint64_t>(value))};
}
Parameter Parameter::real(double value) {
  return {kFloat8, false, big_endian(std::bit_cast<std::uint64_t>(value))};
}
Parameter Parameter::bytes(ByteView value) { return {kBytea, false, std::string(as_text(value))}; }

/// dimensions: i32 (1), has nulls: i32, type of the elements: u32, count: i32, lowest index: i32
/// (1); then of each element its length (-1: null) and its bytes; big-endian.
Parameter Parameter::array(std::span<const Parameter> elements) {
  Oid type = 0;
  bool nulls = false;
  std::size_t bytes = 20;
  for (const Parameter& element : elements) {
    if (!element.null) type = element.type;
    nulls = nulls || element.null;
    bytes += 4 + element.value.size();
  }
  Parameter array;
  array.type = type == kInt8 ? kInt8Array : type == kFloat8 ? kFloat8Array : kByteaArray;
  array.null = false;
  array.value.reserve(bytes);
  for (const std::uint64_t field :
       {std::uint64_t{1}, std::uint64_t{nulls}, std::uint64_t{type == 0 ? kBytea : type},
        std::uint64_t{elements.size()}, std::uint64_t{1}})
    append_big_endian(array.value, field, 4);
  for (const Parameter& element : elements) {
    append_big_endian(array.value, element.null ? ~std::uint64_t{0} : element.value.size(), 4);
    array.value += element.value;
  }
  return array;
}

Connection::Connection(const Options& options) {
  std::string password;
  if (options.password) {
    auto secret = options.password();
    if (!secret) throw Failure(secret.error().code, secret.error().message);
    password = std::move(*secret);
  }
  // A later one wins: what stands behind the URL is not for it to say.
  const std::array keywords = {"connect_timeout",
                               "tcp_user_timeout",
                               "keepalives_idle",
                               "target_session_attrs",
                               "dbname",
                               "application_name",
                               "client_encoding",
                               password.empty() ? static_cast<const char*>(nullptr) : "password",
                               static_cast<const char*>(nullptr)};
  const std::array values = {kConnectTimeoutSeconds,
                             kTcpUserTimeoutMs,
                             kKeepaliveSeconds,
                             "read-write",
                             options.url.c_str(),
                             options.application_name.c_str(),
                             "UTF8",
                             password.c_str(),
                             static_cast<const char*>(nullptr)};
  connection_.reset(PQconnectdbParams(keywords.data(), values.data(), 1));
  explicit_bzero(password.data(), password.size());
  if (!connection_) throw Failure(Errc::exhausted, "no memory for a connection");
  const auto part = [](const char* text) { return text ? text : ""; };
  place_ = fmt::format("{}:{}, database {}", part(PQhost(connection_.get())),
                       part(PQport(connection_.get())), part(PQdb(connection_.get())));
  if (PQstatus(connection_.get()) != CONNECTION_OK)
    throw Failure(Errc::unavailable,
                  "no connection: " + one_line(PQerrorMessage(connection_.get())));
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  check_and_set_up(options);
  if (PQenterPipelineMode(connection_.get()) != 1)
    throw Failure(Errc::unavailable, one_line(PQerrorMessage(connection_.get())));
}

void Connection::check_and_set_up(const Options& options) {
  const auto warn = [&](const std::string& words) {
    if (options.warn) options.warn(fmt::format("PostgreSQL at {}: {}", place_, words));
  };
  const auto shown = [&](const char* setting) {
    const Rows rows(PQexec(connection_.get(), fmt::format("SHOW {}", setting).c_str()));
    return rows.count() == 1 ? rows.text(0, 0) : std::string();
  };
  const int version = PQserverVersion(connection_.get());
  if (version < kServerVersionMin)
    warn(fmt::format("it is version {}.{}, older than 15, which nobody tests; upgrade it",
                     version / 10000, version % 10000));
  if (shown("fsync") == "off")
    warn("fsync is off: what was called settled can be lost with the power; turn it on");
  if (shown("synchronous_commit") == "off") {
    warn(
        "synchronous_commit is off: this server turns it on for itself, because nodes delete what "
        "is called settled; turn it on for its role");
    execute("SET synchronous_commit = on");
  }
  if (const std::string encoding = shown("server_encoding"); encoding != "UTF8")
    warn(fmt::format("the database's encoding is {}, not UTF8; make a new one with it", encoding));
  execute(
      fmt::format("SET search_path = postern; SET lock_timeout = '{}'; "
                  "SET statement_timeout = '{}'; "
                  "SET idle_in_transaction_session_timeout = '{}'",
                  kLockTimeout, kStatementTimeout, kIdleInTransactionTimeout));
}

bool Connection::lost() {
  // A connection that was closed while nobody asked anything tells so here: by its last words, and
  // behind them by its end.
  for (int reads = 0; reads < 2 && !broken_ && awaited_.empty(); ++reads)
    if (PQconsumeInput(connection_.get()) != 1) broken_ = true;
  return broken_ || PQstatus(connection_.get()) != CONNECTION_OK;
}

bool Connection::in_transaction() const {
  return PQtransactionStatus(connection_.get()) != PQTRANS_IDLE;
}

void Connection::send_prepare(const std::string& name, const std::string& sql,
                              std::span<const Parameter> parameters) {
  std::vector<Oid> types;
  for (const Parameter& parameter : parameters) types.push_back(parameter.type);
  sent(PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), static_cast<int>(types.size()),
                     types.data()),
       nullptr);
}

void Connection::send_prepared(const std::string& name, std::span<const Parameter> parameters,
                               RowsInbox* inbox) {
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const Parameter& parameter : parameters) {
    values.push_back(parameter.null ? nullptr : parameter.value.data());
    lengths.push_back(static_cast<int>(parameter.value.size()));
  }
  const std::vector<int> binary(parameters.size(), 1);
  sent(PQsendQueryPrepared(connection_.get(), name.c_str(), static_cast<int>(values.size()),
                           values.data(), lengths.data(), binary.data(), 1),
       inbox);
}

void Connection::send(const char* sql) {
  sent(PQsendQueryParams(connection_.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 1),
       nullptr);
}

void Connection::sent(int done, RowsInbox* inbox) {
  if (done != 1) {
    broken_ = true;
    throw Failure(Errc::unavailable, one_line(PQerrorMessage(connection_.get())));
  }
  awaited_.push_back(inbox);
  if (!inbox && awaited_.size() >= kAwaitedMax) receive();
}

void Connection::receive() {
  if (!awaited_.empty()) {
    PQsendFlushRequest(connection_.get());
    PQflush(connection_.get());
  }
  while (!awaited_.empty()) {
    RowsInbox* inbox = awaited_.front();
    awaited_.pop_front();
    // The answer, and the null pointer behind it.
    while (PGresult* result = PQgetResult(connection_.get())) take(result, inbox);
    if (PQstatus(connection_.get()) != CONNECTION_OK) {
      broken_ = true;
      awaited_.clear();
    }
  }
  if (first_) throw_first();
}

void Connection::take(PGresult* result, RowsInbox* inbox) {
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_FATAL_ERROR && !first_) first_ = failure_of(result);
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (status == PGRES_FATAL_ERROR && (!state || calls_for_another_connection(state)))
    broken_ = true;
  Rows rows(result);
  if (inbox && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK))
    inbox->push_back(std::move(rows));
}

void Connection::throw_first() { throw Failure(*first_); }

Failure Connection::failure_of(const PGresult* result) const {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string words = one_line(primary ? primary : PQresultErrorMessage(result));
  if (!state) return {Errc::unavailable, "the connection was lost: " + words};
  return by_state(state, fmt::format("{} (SQLSTATE {})", words, state));
}

void Connection::settle() {
  if (broken_ && PQstatus(connection_.get()) != CONNECTION_OK)
    throw first_.value_or(Failure(Errc::unavailable, "the connection was lost"));
  if (PQpipelineSync(connection_.get()) != 1) {
    broken_ = true;
    throw Failure(Errc::unavailable, one_line(PQerrorMessage(connection_.get())));
  }
  try {
    receive();
  } catch (const Failure&) {  // kept in first_
  }
  bool synced = false;
  while (!synced && PQstatus(connection_.get()) == CONNECTION_OK) {
    PGresult* result = PQgetResult(connection_.get());
    if (!result) continue;
    synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    take(result, nullptr);
  }
  if (!synced) {
    broken_ = true;
    throw first_.value_or(Failure(Errc::unavailable, "the connection was lost"));
  }
  if (first_) {
    const Failure first = *first_;
    first_.reset();
    throw Failure(first);
  }
}

void Connection::execute(const std::string& sql) {
  const bool pipelined = PQpipelineStatus(connection_.get()) != PQ_PIPELINE_OFF;
  if (pipelined) {
    settle();
    PQexitPipelineMode(connection_.get());
  }
  PGresult* result = PQexec(connection_.get(), sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  std::optional<Failure> failed;
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) failed = failure_of(result);
  const Rows rows(result);
  if (pipelined) PQenterPipelineMode(connection_.get());
  if (PQstatus(connection_.get()) != CONNECTION_OK) broken_ = true;
  if (failed) throw Failure(*failed);
}

}  // namespace postern::postgresql
