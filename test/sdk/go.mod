module replyworker/test/sdk

go 1.26.0

require replyworker v0.0.0

replace replyworker => ../..
