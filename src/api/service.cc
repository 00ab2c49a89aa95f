#include "api/service.h"

#include "base/invariant.h"

namespace postern::api {
namespace {

struct Kind {
  std::string_view type;
  int status;
  std::string_view title;
};

constexpr Kind kKinds[] = {
    {kProblemInvalid, 400, "The request cannot be read"},
    {kProblemDenied, 403, "Not allowed"},
    {kProblemNotFound, 404, "Not found"},
    {kProblemMethod, 405, "This method is not known here"},
    {kProblemConflict, 409, "In conflict with what is registered"},
    {kProblemTooLarge, 413, "The request is too large"},
    {kProblemMediaType, 415, "The body must be JSON"},
    {kProblemUnprocessable, 422, "The request asks for something impossible"},
    {kProblemUnknownParent, 422, "The parent is not part of the management group"},
    {kProblemExhausted, 429, "A limit is reached"},
    {kProblemInternal, 500, "The management server failed"},
    {kProblemNotAvailable, 501, "Not available in this version"},
    {kProblemDirection, 501,
     "Connections initiated by the parent are not available in this version"},
    {kProblemUnavailable, 503, "Try again later"},
    {kProblemStorageFull, 507, "The management server's storage is full"},
};

std::string_view type_of(Errc code) {
  switch (code) {
    case Errc::invalid:
      return kProblemUnprocessable;
    case Errc::denied:
      return kProblemDenied;
    case Errc::unavailable:
      return kProblemUnavailable;
    case Errc::exhausted:
      return kProblemExhausted;
    case Errc::corrupt:
      return kProblemInternal;
  }
  return kProblemInternal;
}

}  // namespace

ApiError problem(std::string_view type, std::string detail) {
  for (const Kind& kind : kKinds)
    if (kind.type == type)
      return {kind.status, std::string(type), std::string(kind.title), std::move(detail)};
  invariant(false, "a problem has one of the types of service.h");
  return {};
}

ApiError problem_of(const Error& error) { return problem(type_of(error.code), error.message); }

}  // namespace postern::api
