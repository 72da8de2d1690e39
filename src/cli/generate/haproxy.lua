-- Asks sessionctl about a request, for sessionctl.cfg beside this file. What it learns it leaves in variables of the
-- transaction; the answer is "allowed" after a fresh yes and after nothing else.

local SERVER = "http://127.0.0.1:8080"

-- An answer that takes longer is none, in milliseconds.
local TIMEOUT = 5000

local ANSWERS = { [200] = "allowed", [401] = "no-session", [403] = "forbidden" }

-- The values of a header as a list; HAProxy counts those of a request from 0.
local function values(headers, name)
    local list = {}
    for _, value in pairs(headers[name] or {}) do
        list[#list + 1] = value
    end
    return list
end

local function keep(txn, variable, headers, name)
    local value = values(headers, name)[1]
    if value then
        txn:set_var(variable, value)
    end
end

core.register_action("sessionctl", { "http-req" }, function(txn, path)
    local sent = txn.http:req_get_headers()
    -- Nothing of the client's but these: neither its body nor a name that it made up gets to the check.
    local asked = { ["x-forwarded-for"] = { txn.sf:src() } }
    for _, name in ipairs({ "cookie", "user-agent" }) do
        local found = values(sent, name)
        if #found > 0 then
            asked[name] = found
        end
    end
    local client = core.httpclient()
    local answer = client:get({ url = SERVER .. path, headers = asked, timeout = TIMEOUT })
    local said = answer and ANSWERS[answer.status]
    if not said then
        return
    end
    if said == "allowed" then
        keep(txn, "txn.sessionctl_id", answer.headers, "x-session-id")
        keep(txn, "txn.sessionctl_user", answer.headers, "x-session-user")
        keep(txn, "txn.sessionctl_cookie", answer.headers, "set-cookie")
    end
    txn:set_var("txn.sessionctl_answer", said)
end, 1)
