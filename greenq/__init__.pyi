from greenq.app import GreenQ as GreenQ
from greenq.asyncresult import AsyncResult as AsyncResult
from greenq.call import Call as Call
from greenq.eagerresult import EagerResult as EagerResult
from greenq.errors import ChordError as ChordError
from greenq.errors import GreenqError as GreenqError
from greenq.errors import Ignore as Ignore
from greenq.errors import InvalidOption as InvalidOption
from greenq.errors import InvalidTaskArguments as InvalidTaskArguments
from greenq.errors import MaxRetriesExceeded as MaxRetriesExceeded
from greenq.errors import PartlySent as PartlySent
from greenq.errors import PublishError as PublishError
from greenq.errors import PublishTimeout as PublishTimeout
from greenq.errors import Reject as Reject
from greenq.errors import RemoteError as RemoteError
from greenq.errors import ResultTimeout as ResultTimeout
from greenq.errors import Retry as Retry
from greenq.errors import SoftTimeLimitExceeded as SoftTimeLimitExceeded
from greenq.errors import TaskRevoked as TaskRevoked
from greenq.errors import TimeLimitExceeded as TimeLimitExceeded
from greenq.errors import WorkerLost as WorkerLost
from greenq.joining import allow_join_result as allow_join_result
from greenq.middleware import Middleware as Middleware
from greenq.request import Request as Request
from greenq.task import Task as Task
from greenq.worker.worker import Worker as Worker

__version__: str
